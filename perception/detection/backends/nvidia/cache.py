"""Engines and timing caches on disk: whole or not there, each beside a JSON that says what it belongs to.

An engine is machine code: only files whose hash stands in their own JSON are handed to TensorRT, which does not take
a cut or altered plan gracefully.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from perception.detection.backends.nvidia.keys import EngineKey
from perception.detection.config import DetectionConfig, EngineConfig
from robot.core.errors import DetectorError


def cache_directory(config: EngineConfig) -> Path:
    """Return the configured directory; else systemd's `$CACHE_DIRECTORY`, else `~/.cache/blackout`."""
    if config.directory:
        return Path(config.directory).expanduser()
    systemd = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if systemd:
        return Path(systemd)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "blackout"


def build_command(config: DetectionConfig, precision: str, directory: Path) -> str:
    """Return the `blackout build-engine` line that makes the engine which this configuration asks for."""
    engine, default = config.engine, EngineConfig()
    parts = [f"blackout build-engine --model {config.model} --precision {precision}"]
    parts += [f"--backend {config.backend}"] if config.backend != "tensorrt" else []
    parts += ["--sparse"] if engine.sparse else []
    for name in ("workspace_mib", "optimization_level", "dla_core"):
        if getattr(engine, name) != getattr(default, name):
            parts.append(f"--{name.replace('_', '-')} {getattr(engine, name)}")
    parts += [] if engine.gpu_letterbox or config.backend != "tensorrt" else ["--no-gpu-letterbox"]
    parts += [f"--out {directory}"] if engine.directory else []
    return " ".join(parts)


class EngineCache:
    """The engines of one directory.

    Args:
        directory: made when something is first written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def engine_path(self, model: str, key: EngineKey) -> Path:
        """Return where a model's engine belongs."""
        return self.directory / f"{Path(model).name.removesuffix('.onnx')}-{key.precision}-{key.digest}.engine"

    def timing_path(self, key: EngineKey) -> Path:
        """Return where the timing cache belongs: shared by all models of one TensorRT and one kind of GPU."""
        text = "|".join((key.runtime, key.gpu, key.compute_capability))
        return self.directory / f"timing-{hashlib.sha256(text.encode()).hexdigest()[:16]}.cache"

    def read_timing(self, key: EngineKey) -> bytes:
        """Return the timing cache; empty where there is none."""
        path = self.timing_path(key)
        return path.read_bytes() if path.is_file() else b""

    def write_timing(self, key: EngineKey, content: bytes) -> None:
        """Keep a timing cache for the next build."""
        write_whole(self.timing_path(key), content)

    def write_engine(self, model: str, key: EngineKey, plan: bytes) -> Path:
        """Store an engine and its JSON; returns the engine's path."""
        path = self.engine_path(model, key)
        write_whole(path, plan)
        about = {"key": dataclasses.asdict(key), "sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan)}
        write_whole(path.with_suffix(".json"), (json.dumps(about, indent=1) + "\n").encode())
        return path

    def read_engine(self, model: str, key: EngineKey, command: str) -> bytes:
        """Return an engine that is whole and belongs to the key.

        Args:
            model: the model's name or path.
            key: what it must belong to.
            command: the line that builds it, for the error.

        Raises:
            DetectorError: there is none (with what differs from those that there are), or it was damaged; a damaged
                one is deleted.
        """
        path = self.engine_path(model, key)
        about = _read_json(path.with_suffix(".json"))
        if not path.is_file():
            raise DetectorError(
                f"no engine for this model and GPU in {self.directory}{self._near(path, key)}", hint=command
            )
        plan = path.read_bytes()
        if about.get("key") != dataclasses.asdict(key) or about.get("sha256") != hashlib.sha256(plan).hexdigest():
            self.discard(path)
            raise DetectorError(f"the engine {path.name} was damaged, and has been deleted", hint=command)
        return plan

    def discard(self, path: Path) -> None:
        """Delete an engine and its JSON."""
        for file in (path, path.with_suffix(".json")):
            file.unlink(missing_ok=True)

    def _near(self, path: Path, key: EngineKey) -> str:
        """Return what differs from the nearest engine of the same model name, as the end of a sentence."""
        stem = path.name.removesuffix(f"{key.precision}-{key.digest}.engine")
        found = []
        for file in sorted(self.directory.glob(f"{stem}*.json")):
            other = _read_json(file).get("key")
            if isinstance(other, dict):
                found.append((key.differences(other), file.stem))
        if not found:
            return ""
        differences, name = min(found, key=lambda item: len(item[0]))
        return f"; nearest is {name} ({', '.join(differences)})"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all, even if the power goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
