"""Say what is here, what is missing, and what to type.

Example: blackout doctor
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from robot.cli._outputs import check_outputs
from robot.core.errors import RobotError


@dataclasses.dataclass(frozen=True)
class Args:
    """Flags of `blackout doctor`."""

    json: Path | None = None
    """Also write the findings to this file."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing looked at. `needed` ones that are not `ok` make the exit code 1."""

    name: str
    ok: bool
    detail: str
    mend: str = ""
    needed: bool = True


def _package(name: str, module: str, *, mend: str, needed: bool = True) -> Finding:
    try:
        importlib.import_module(module)
        return Finding(name, True, importlib.metadata.version(name), needed=needed)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, True, "there (not from pip)", needed=needed)
    except (ImportError, OSError) as error:
        return Finding(name, False, str(error).splitlines()[0], mend, needed)


def _python() -> Finding:
    ok = sys.version_info >= (3, 10)
    return Finding("Python", ok, f"{platform.python_version()} on {platform.machine()}", "install Python 3.10 or newer")


def _providers() -> Finding:
    mend = "pip install onnxruntime-gpu (on ARM: onnxruntime)"
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        return Finding("ONNX Runtime", False, str(error).splitlines()[0], mend)
    available = onnxruntime.get_available_providers()
    detail = "built with " + ", ".join(p.removesuffix("ExecutionProvider") for p in available)
    return Finding("ONNX Runtime", "CPUExecutionProvider" in available, detail, mend)


def _gpu() -> Finding:
    found = [p for p in ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu") if os.path.exists(p)]
    mend = "on a Jetson: flash JetPack 6; the CPU backend works without"
    return Finding("NVIDIA GPU", bool(found), ", ".join(found) or "none", mend, needed=False)


def _renderer() -> Finding:
    from sim.camera.gl import headless_backend

    try:
        return Finding("headless renderer", True, headless_backend(), "", needed=False)
    except RobotError as error:  # a robot on the field renders nothing
        return Finding("headless renderer", False, error.message, error.hint, needed=False)


def _compiler() -> Finding:
    gcc = shutil.which("gcc")
    return Finding("C compiler", gcc is not None, gcc or "none", "sudo apt-get install gcc libc6-dev", needed=False)


def _models() -> Finding:
    from perception.detection import DetectionConfig, load_detector

    detector = load_detector(DetectionConfig())
    return Finding("detector", True, f"{detector.model_name}, input {detector.input_size_px}")


def _robot() -> Finding:
    from robot.runtime.robot_config import load_robot

    return Finding("default robot", True, load_robot("default").name)


def _cameras() -> Finding:
    devices = sorted(str(p) for p in Path("/dev").glob("video*"))
    return Finding("cameras", bool(devices), ", ".join(devices) or "none", "plug one in; `--camera file:...`", False)


def _ports() -> Finding:
    by_id = Path("/dev/serial/by-id")
    ports = sorted(str(p) for p in by_id.glob("*")) if by_id.is_dir() else []
    return Finding("serial ports", bool(ports), ", ".join(ports) or "none", "plug the board in; `--port pty`", False)


NEEDED = {
    "numpy": "numpy",
    "opencv-python": "cv2",
    "filterpy": "filterpy.kalman",
    "pyserial": "serial",
    "cobs": "cobs.cobs",
    "tyro": "tyro",
    "foxglove-sdk": "foxglove",
    "mcap": "mcap.stream_reader",
    **({} if sys.version_info >= (3, 11) else {"tomli": "tomli"}),
}
"""Each package of setup.py's INSTALL and a module of it; ONNX Runtime, which has several, is left to `_providers`."""

_MENDS = {"opencv-python": "pip install opencv-python; apt-get install libgl1 libglib2.0-0"}


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    *(partial(_package, name, module, mend=_MENDS.get(name, f"pip install {name}")) for name, module in NEEDED.items()),
    _providers,
    _robot,
    _models,
    _compiler,
    _renderer,  # before MuJoCo's own line: what imports it first decides how it renders
    lambda: _package("mujoco", "mujoco", mend="pip install 'blackout-robot[sim]'", needed=False),
    lambda: _package("torch", "torch", mend="pip install 'blackout-robot[train]'", needed=False),
    lambda: _package("tensorrt", "tensorrt", mend="comes with JetPack; not on PyPI for the Jetson", needed=False),
    lambda: _package("pycuda", "pycuda.driver", mend="pip install 'blackout-robot[gpu]'", needed=False),
    _gpu,
    _cameras,
    _ports,
)


def examine() -> list[Finding]:
    """Run every check; a check that raises becomes a finding with its mend."""
    findings = []
    for check in CHECKS:
        name = getattr(check, "__name__", "package").strip("_")
        try:
            findings.append(check())
        except RobotError as error:
            findings.append(Finding(name, False, error.message, error.hint))
        except ImportError as error:
            findings.append(Finding(name, False, str(error), "install what is missing above"))
    return findings


def run(args: Args) -> int:
    """Print the findings; 0 when everything needed to play is there, else 1."""
    check_outputs(files=[args.json])
    findings = examine()
    for f in findings:
        mark = "ok  " if f.ok else ("MISS" if f.needed else "-   ")
        print(f"{mark} {f.name:18s} {f.detail}" + (f"\n     {'':18s} -> {f.mend}" if not f.ok and f.mend else ""))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps([dataclasses.asdict(f) for f in findings], indent=1))
    missing = [f for f in findings if f.needed and not f.ok]
    print(f"\n{len(missing)} needed things are missing" if missing else "\nall that is needed to play is here")
    return 1 if missing else 0
