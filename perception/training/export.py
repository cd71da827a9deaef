"""Export averaged weights as ONNX with raw heads, and the JSON that belongs to them.

Batch norm is folded into the convolutions (in float64), padding into them by onnxslim; decode and suppression stay
outside the graph, so that every backend gives the same boxes (some cannot run NMS nodes at all).

    python -m perception.training.export runs/own                                          # runs/own/own.onnx
    python -m perception.training.export runs/full_even --and runs/full_even_e --name full   # the mean of two runs

Weights that ship are replaced only by `--out perception/detection/models`.
"""

from __future__ import annotations

import argparse
import copy
import json
import pickle
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from perception.detection.half_weights import SMALLEST, with_half_weights
from perception.detection.model import ModelMeta, file_sha256, meta_path
from perception.training.command import run
from perception.training.config import TrainingConfig
from perception.training.network import ConvBn, SsdLite
from robot.core.config import config_hash, from_dict
from robot.core.errors import DataError, DetectorError

OPSET = 17
TOLERANCE = 2e-3


def fold(network: SsdLite) -> SsdLite:
    """Return a copy in evaluation mode whose batch norms are folded into the convolutions before them."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if isinstance(module, ConvBn):
            conv, bn = module.conv, module.bn
            mean, variance = bn.running_mean, bn.running_var
            assert mean is not None
            assert variance is not None
            scale = bn.weight.double() / torch.sqrt(variance.double() + bn.eps)
            fused = copy.deepcopy(conv)
            fused.weight = nn.Parameter((conv.weight.double() * scale[:, None, None, None]).float())
            fused.bias = nn.Parameter((bn.bias.double() - mean.double() * scale).float())
            module.conv, module.bn = fused, nn.Identity()  # type: ignore[assignment]
    return folded


def round_to_half(network: SsdLite) -> SsdLite:
    """Return a copy whose large weights are numbers that float16 holds exactly: what the exported file will contain."""
    rounded = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in rounded.parameters():
            if parameter.numel() >= SMALLEST:
                parameter.copy_(parameter.half().float())
    return rounded


def load_run(run: Path) -> tuple[TrainingConfig, SsdLite, int]:
    """Return recipe, network with averaged weights, and steps of a training run's folder.

    Raises:
        DataError: it is no such folder, or its recipe and weights are cut or do not belong together.
    """
    try:
        config = from_dict(
            TrainingConfig, json.loads((run / "recipe.json").read_text(encoding="utf-8")), where=str(run)
        )
        state = torch.load(run / "ema.pt", weights_only=True)
    except OSError as error:
        raise DataError(f"{run} is no training run: {error}", hint="blackout train RECIPE --out RUN") from error
    except (ValueError, RuntimeError, EOFError, LookupError, pickle.UnpicklingError) as error:  # torch: any of these
        raise DataError(f"{run} is damaged: {str(error)[:300]}", hint="train it again") from error
    network = SsdLite(config.model.anchors, config.model.width)
    try:
        network.load_state_dict(state["network"])
        return config, network, int(state["step"])
    except (RuntimeError, KeyError, TypeError) as error:
        mend = "was it resumed with another [model]? put the old one back into recipe.json"
        raise DataError(f"weights and recipe of {run} do not fit: {str(error)[:300]}", hint=mend) from error


def load_mean(runs: Sequence[Path]) -> tuple[TrainingConfig, SsdLite, str]:
    """Return the first run's recipe, the mean of all runs' averaged weights, and the words for where they are from.

    Runs that went on from one another lie in one basin, where the mean is no worse than the last and varies less from
    picture to picture: Wortsman et al., "Model soups" (2022). The statistics of batch norm are averaged, too.

    Raises:
        DataError: a folder is no training run, or the networks differ.
    """
    found = [load_run(run) for run in runs]
    config, network, _ = found[0]
    states = [other.state_dict() for _, other, _ in found]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(one != shapes[0] for one in shapes) or any(c.model != config.model for c, _, _ in found):
        raise DataError(f"{', '.join(map(str, runs))}: networks differ", hint="average stages of the same [model] only")
    mean = {
        name: torch.stack([s[name] for s in states]).mean(dim=0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    network.load_state_dict(mean)
    return config, network, "; ".join(f"recipe {c.name} {config_hash(c)}, {steps} steps" for c, _, steps in found)


def export(network: SsdLite, path: Path) -> None:
    """Write the network as ONNX, weights stored as float16, and check that ONNX Runtime computes what PyTorch does.

    The file appears when it has passed; one that was there before stays until then.

    Raises:
        DetectorError: the results differ, or a weight is no number that float16 holds.
    """
    import onnx
    import onnxruntime
    import onnxslim

    width, height = network.anchors.input_size_px
    folded = round_to_half(fold(network))
    images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:
        made = str(Path(folder) / path.name)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # the tracing exporter is deprecated; the new one gives the same graph slower
            torch.onnx.export(
                folded, (images,), made, dynamo=False, opset_version=OPSET,
                input_names=["images"], output_names=["logits", "offsets"],
            )  # fmt: skip
        try:
            onnx.save(with_half_weights(onnxslim.slim(onnx.load(made))), made)
        except ValueError as error:
            raise DetectorError(f"{path.name}: {error}", hint="the training diverged? see curves.png") from error
        session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
        results = session.run(["logits", "offsets"], {"images": images.numpy()})
        with torch.no_grad():
            expected: tuple[Tensor, Tensor] = folded(images)
        for name, got, wanted in zip(("logits", "offsets"), results, expected, strict=True):
            difference = float(np.abs(got - wanted.numpy()).max())
            if not difference < TOLERANCE:
                raise DetectorError(f"{path.name}: {name} differ by {difference} from PyTorch", hint="report this")
        Path(made).replace(path)


def export_runs(runs: Sequence[Path], out: Path, name: str = "") -> tuple[Path, ModelMeta]:
    """Write the mean of runs' averaged weights as `out/NAME.onnx` with its JSON; returns the file and the JSON's data.

    An int8 model of the same name goes: it is of the weights before, and precision `auto` would run it.

    Args:
        runs: folders of training runs.
        out: where to; made when missing.
        name: of the model; empty: that of the first run's recipe.

    Raises:
        DataError: one is no training run's folder, or the networks differ.
        DetectorError: ONNX Runtime computes something else than PyTorch.
    """
    config, network, trained_by = load_mean(runs)
    path = out / f"{name or config.name}.onnx"
    export(network, path)
    int8 = path.with_name(f"{path.stem}.int8.onnx")
    for old in (int8, meta_path(int8)):
        old.unlink(missing_ok=True)
    meta = ModelMeta(
        name=path.stem,
        sha256=file_sha256(path),
        precision="fp32",
        anchors=config.model.anchors,
        trained_by=trained_by,
    )
    meta.write(path)
    return path, meta


def main() -> None:
    """Export one run, or the mean of several."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--and", type=Path, action="append", default=[], dest="others", help="average with this run")
    parser.add_argument("--name", default="", help="of the model; by default the recipe's")
    parser.add_argument("--out", type=Path, default=None, help="folder; by default the (first) run's")
    args = parser.parse_args()
    torch.set_num_threads(1)
    path, meta = export_runs([args.run, *args.others], args.out or args.run, args.name)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {meta.trained_by}")
    print(f"next: python -m perception.training.quantise {path}")


if __name__ == "__main__":
    sys.exit(run(main))
