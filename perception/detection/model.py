"""A model on disk: an ONNX file and, beside it, a JSON file that says how to feed it and read it.

The JSON carries the SHA-256 of the ONNX file: a model whose two files do not belong together is refused, because boxes
decoded with another network's anchors look plausible and are wrong.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from perception.detection.anchors import AnchorSpec
from robot.core.config import from_dict, to_dict
from robot.core.errors import ConfigError, DetectorError
from robot.core.messages import ObjectClass

MODELS_DIR = Path(__file__).resolve().parent / "models"
CLASSES = tuple(c.name.lower() for c in ObjectClass)
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ModelMeta:
    """What stands in the JSON file.

    Args:
        name: the model's name with its precision, e.g. `full.int8`; goes into every `DetectionBatch`.
        sha256: of the ONNX file.
        precision: `fp32` or `int8`.
        anchors: default boxes, input size and strides.
        classes: class names in the order of the network's outputs.
        trained_by: recipe name and hash, steps and date of the training run.
        format: version of this file's form.
    """

    name: str
    sha256: str
    precision: str
    anchors: AnchorSpec
    trained_by: str
    classes: tuple[str, ...] = CLASSES
    format: int = FORMAT

    def write(self, onnx_path: Path) -> None:
        """Write the JSON beside the ONNX file."""
        meta_path(onnx_path).write_text(json.dumps(to_dict(self), indent=1) + "\n", encoding="utf-8")


def meta_path(onnx_path: Path) -> Path:
    """Return the JSON file that belongs to an ONNX file."""
    return onnx_path.with_suffix(".json")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find_model(name: str, precision: str) -> Path:
    """Return the ONNX file of a shipped model's name, or the path as given.

    Args:
        name: `full`, or `path/to/file.onnx` (then the precision is the file's own).
        precision: `fp32` or `int8`.

    Raises:
        DetectorError: there is no such file; the hint lists what is shipped.
    """
    if name.endswith(".onnx"):
        path = Path(name)
    else:
        path = MODELS_DIR / (f"{name}.int8.onnx" if precision == "int8" else f"{name}.onnx")
    if path.is_file():
        return path
    shipped = ", ".join(sorted(p.stem for p in MODELS_DIR.glob("*.onnx"))) or "none"
    raise DetectorError(f"no model {path}", hint=f"shipped models: {shipped}; or give the path of an .onnx file")


def read_meta(onnx_path: Path) -> ModelMeta:
    """Read and check the JSON that belongs to an ONNX file.

    Raises:
        DetectorError: it is missing, malformed, of another format, or of another ONNX file.
    """
    path = meta_path(onnx_path)
    mend = "export it again: python -m perception.training.export RUN"
    try:
        meta = from_dict(ModelMeta, json.loads(path.read_text(encoding="utf-8")), where=path.name)
    except (OSError, ValueError, TypeError, ConfigError) as error:  # TypeError: the JSON is no object
        raise DetectorError(f"cannot use {path}: {error}", hint=mend) from error
    if meta.format != FORMAT:
        raise DetectorError(f"{path.name} has format {meta.format}, this version reads {FORMAT}", hint=mend)
    if meta.classes != CLASSES:
        raise DetectorError(f"{path.name} has classes {meta.classes}, not {CLASSES}", hint=mend)
    if file_sha256(onnx_path) != meta.sha256:
        raise DetectorError(f"{onnx_path.name} is not the file that {path.name} describes (SHA-256 differs)", hint=mend)
    return meta
