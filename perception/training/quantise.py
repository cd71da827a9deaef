"""Quantise an exported model to 8 bits: static QDQ, per-channel int8 weights, uint8 activations, min-max ranges.

Calibrated on training pictures, never on held-back ones: real ones as they are, and simulated ones where there are any.
The heads' predictors take 8 bits and give float32 (`predictors.py`). The first three convolutions stay float32: with 3
to 32 channels at full resolution, ONNX Runtime's 8-bit ones are slower (together 1.45 ms against 0.99 ms on one core).

    python -m perception.training.quantise perception/detection/models/full.onnx --folder ../shared/data/ssl-images
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from perception.detection.half_weights import with_float_weights
from perception.detection.letterbox import Letterbox
from perception.detection.model import file_sha256, read_meta
from perception.training.command import run
from perception.training.config import SourceConfig
from perception.training.dataset import read_picture, training_items
from perception.training.predictors import as_products
from robot.core.errors import ConfigError, DataError

FLOAT_CONVOLUTIONS = 3


class _Reader:
    """Feeds letterboxed pictures to ONNX Runtime's calibration."""

    def __init__(self, files: Sequence[Path], input_size_px: tuple[int, int]) -> None:
        self._files = iter(files)
        self._letterbox = Letterbox(input_size_px)

    def get_next(self) -> dict[str, Any] | None:
        path = next(self._files, None)
        return None if path is None else {"images": self._letterbox(read_picture(path))[0].copy()}


def output_nodes(graph: Any) -> list[str]:
    """Return the names of the nodes from the graph's outputs back to the heads' products, these not included."""
    producer = {output: node for node in graph.node for output in node.output}
    waiting = [output.name for output in graph.output]
    found = set()
    while waiting:
        node = producer[waiting.pop()]
        if node.op_type != "MatMul":
            found.add(node.name)
            waiting += [name for name in node.input if name in producer]
    return sorted(found)


def quantise(onnx_path: Path, pictures: Sequence[Path]) -> Path:
    """Write `NAME.int8.onnx` and its JSON beside `NAME.onnx`; returns its path. An older one stays until it is done.

    Args:
        onnx_path: the exported float32 model.
        pictures: calibration pictures.

    Raises:
        DataError: the model is an int8 one already, or a picture cannot be read.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    meta = read_meta(onnx_path)
    if meta.precision == "int8":
        raise DataError(f"{onnx_path} is an int8 model already", hint="give the float32 one")
    out = onnx_path.with_name(f"{onnx_path.stem}.int8.onnx")

    class Reader(_Reader, CalibrationDataReader):  # type: ignore[misc]
        pass

    with TemporaryDirectory(dir=onnx_path.parent) as folder, _quiet():
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / out.name
        onnx.save(with_float_weights(onnx.load(str(onnx_path))), str(prepared))
        quant_pre_process(str(prepared), str(prepared))
        model = onnx.load(str(prepared))
        as_products(model.graph)
        onnx.save(onnx.shape_inference.infer_shapes(model), str(prepared))
        convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
        quantize_static(
            str(prepared),
            str(made),
            Reader(pictures, meta.anchors.input_size_px),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*output_nodes(model.graph), *convolutions[:FLOAT_CONVOLUTIONS]],
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["MatMul"],
                "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
            },
        )
        made.replace(out)
    dataclasses.replace(meta, name=f"{meta.name}.int8", precision="int8", sha256=file_sha256(out)).write(out)
    return out


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice, which goes to the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def calibration_pictures(sources: Sequence[SourceConfig], count: int = 96, seed: int = 1) -> list[Path]:
    """Return up to `count` training pictures of each source, drawn without replacement."""
    rng = np.random.default_rng(seed)
    pictures: list[Path] = []
    for source in sources:
        items, _ = training_items(source, Path())
        chosen = rng.choice(len(items), size=min(count, len(items)), replace=False)
        pictures += [items[int(i)].image for i in sorted(chosen)]
    return pictures


def main() -> None:
    """Quantise one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("../shared/data/ssl-images"))
    parser.add_argument("--split", default="ssl_images", help='held-back pictures are not used; "": take all')
    parser.add_argument("--also", type=Path, default=None, help="a folder of simulated pictures")
    parser.add_argument("--count", type=int, default=96, help="pictures from each folder")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.count < 1:
        raise ConfigError(f"--count must be at least 1, not {args.count}", hint="--count 96")
    sources = [SourceConfig(folder=str(args.folder), split=args.split)]
    if args.also is not None:
        sources.append(SourceConfig(folder=str(args.also)))
    pictures = calibration_pictures(sources, args.count, args.seed)
    out = quantise(args.model, pictures)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, calibrated on {len(pictures)} pictures")


if __name__ == "__main__":
    sys.exit(run(main))
