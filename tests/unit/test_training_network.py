"""Network, losses, one training step, export: small, on the processor; skipped where torch is not installed."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import tarfile
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from perception.detection.anchors import AnchorSpec  # noqa: E402
from perception.detection.decode import decode  # noqa: E402
from perception.training import curves, warm_start  # noqa: E402
from perception.training.config import AugmentConfig, ModelConfig, SourceConfig, TrainingConfig  # noqa: E402
from perception.training.dataset import IGNORE  # noqa: E402
from perception.training.export import export, fold, load_mean  # noqa: E402
from perception.training.feeder import Feeder  # noqa: E402
from perception.training.loss import detection_loss, match, pair_iou, to_edges  # noqa: E402
from perception.training.network import SsdLite  # noqa: E402
from perception.training.train import moving_average, train  # noqa: E402
from robot.core.errors import DataError  # noqa: E402

SHAPES = (((8.0, 8.0),), ((16.0, 16.0), (40.0, 12.0)), ((32.0, 32.0),), ((64.0, 64.0),), ((96.0, 96.0),))
SPEC = AnchorSpec(input_size_px=(96, 64), strides_px=(8, 16, 32, 64, 128), shapes_px=SHAPES)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize("size", [(416, 320), (300, 300), (320, 240), (96, 64)])
def test_outputs_pair_with_anchors_at_every_input_size(size: tuple[int, int]) -> None:
    spec = dataclasses.replace(SPEC, input_size_px=size)
    network = SsdLite(spec, width=0.25).eval()
    with torch.no_grad():
        logits, offsets = network(torch.zeros(2, 3, size[1], size[0]))
    assert logits.shape == (2, spec.count, 3)
    assert offsets.shape == (2, spec.count, 4)


def test_loss_and_runtime_decode_the_same_boxes() -> None:
    anchors = SPEC.boxes()
    rng = np.random.default_rng(1)
    offsets = rng.normal(0, 0.5, (SPEC.count, 4)).astype(np.float32)
    logits = np.full((SPEC.count, 3), -9.0, np.float32)
    logits[:, 1] = np.linspace(3, 1, SPEC.count)
    runtime = decode(logits, offsets, anchors.tolist(), 0.5).boxes_px
    training = to_edges(torch.from_numpy(anchors), torch.from_numpy(offsets)).numpy()
    np.testing.assert_allclose(runtime, training, atol=1e-3)


def test_giou_of_known_boxes() -> None:
    first = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1]])
    second = torch.tensor([[1.0, 0, 3, 2], [2, 0, 3, 1]])
    iou, giou = pair_iou(first, second)
    torch.testing.assert_close(iou, torch.tensor([1 / 3, 0.0]))
    torch.testing.assert_close(giou, torch.tensor([1 / 3, -1 / 3]))


def test_every_object_gets_an_anchor_and_unsure_ones_get_none() -> None:
    edges = to_edges(torch.from_numpy(SPEC.boxes()), torch.zeros(SPEC.count, 4))
    boxes = torch.tensor([[10.0, 10, 13, 13], [30, 20, 62, 52], [70, 40, 90, 60]])
    index, ignored = match(edges, boxes, torch.tensor([1, 0, IGNORE]))
    assert (index == 0).any()
    assert (index == 1).any()
    assert not (index == 2).any()
    assert ignored.any()
    assert not ignored[index >= 0].any()
    index, ignored = match(edges, boxes[[1, 1]], torch.tensor([0, IGNORE]))  # the same place, once sure, once not
    assert (index == 0).any()
    assert not ignored[index >= 0].any()
    index, ignored = match(edges, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert (index == -1).all()
    assert not ignored.any()


def test_a_picture_without_objects_has_a_finite_loss() -> None:
    logits = torch.zeros(1, SPEC.count, 3, requires_grad=True)
    offsets = torch.zeros(1, SPEC.count, 4, requires_grad=True)
    anchors = torch.from_numpy(SPEC.boxes())
    classes, boxes = detection_loss(logits, offsets, anchors, [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.long)])
    (classes + boxes).backward()
    assert torch.isfinite(classes)
    assert float(boxes) == 0.0
    assert (logits.grad > 0).all()  # everything is pushed down


def test_the_average_forgets_its_start() -> None:
    old, new = [torch.zeros(3)], [torch.ones(3)]
    update = moving_average(0.998)
    for count in range(1, 60):
        update(old, new, count)
    assert float(old[0][0]) > 0.95
    counter = [torch.tensor([1])]
    update(counter, [torch.tensor([7])], 3)
    assert int(counter[0]) == 7


def test_batch_norm_put_back_after_the_warm_start_changes_nothing() -> None:
    network = SsdLite(SPEC, width=0.25).eval()
    for layer in network.warm_layers():
        torch.nn.init.normal_(layer.bn.bias, std=0.3)
        layer.bn.running_var.fill_(1.0 - layer.bn.eps)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        before = network(images)
        warm_start.calibrate(network, [torch.randn(2, 3, 64, 96) for _ in range(3)])
        after = network(images)
    torch.testing.assert_close(after, before, atol=2e-4, rtol=1e-3)
    assert float(network.stem.bn.running_mean.abs().sum()) > 0


def test_a_foreign_package_is_refused(tmp_path: Path) -> None:
    member = tmp_path / "data"
    member.write_bytes(b"x" * 500)
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.add(member, warm_start.MEMBER)
    with pytest.raises(DataError, match="does not hold the weights"):
        warm_start.fetch(tmp_path / "out.tflite", tmp_path / "a.tgz")
    assert not (tmp_path / "out.tflite").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_an_archive_that_is_cut_or_holds_something_else_is_named(content: bytes | None, tmp_path: Path) -> None:
    archive = tmp_path / "a.tgz"
    if content is None:
        tarfile.open(archive, "w:gz").close()
    else:
        archive.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*a\.tgz"):
        warm_start.fetch(tmp_path / "out.tflite", archive)


def test_warm_start_weights_that_are_cut_are_named(tmp_path: Path) -> None:
    pytest.importorskip("tflite")
    (tmp_path / "cut.tflite").write_bytes(b"TFL3 and then nothing")
    with pytest.raises(DataError, match="is not the file that we know"):
        warm_start.load_into(SsdLite(SPEC), tmp_path / "cut.tflite")


def test_a_log_with_a_cut_line_and_repeated_steps_is_read(tmp_path: Path) -> None:
    """Killed while writing at step 60, resumed from step 40: the drawing of the curves must not end the run."""
    lines = [
        '{"step": 20, "class_loss": 3, "box_loss": 1}',
        '{"step": 40, "class_loss": 2, "box_loss": 1}',
        '{"step": 40, "all_ap": 0.1}',
    ]
    lines += [
        '{"step": 60, "class_l{"step": 60, "class_loss": 1}',
        '{"step": 40, "class_loss": 1.5, "box_loss": 1}',
        "7",
        "{}",
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    found = [(e["step"], e.get("class_loss", e.get("all_ap"))) for e in curves.read_log(tmp_path)]
    assert found == [(20, 3), (40, 0.1), (40, 1.5)]
    curves.draw_curves(tmp_path)
    assert importlib.util.find_spec("matplotlib") is None or (tmp_path / "curves.png").is_file()


def test_folded_network_computes_the_same() -> None:
    network = SsdLite(SPEC, width=0.25)
    network(torch.randn(4, 3, 64, 96))  # moves the running statistics
    network.eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for got, wanted in zip(fold(network)(images), network(images), strict=True):
            torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def tiny_recipe(folder: Path) -> TrainingConfig:
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for k in range(6):
        image = rng.integers(0, 80, (48, 64, 3), dtype=np.uint8)
        image[20:30, 30:40] = (0, 120, 255)
        cv2.imwrite(str(folder / "images" / f"{k:05d}.png"), image)
        (folder / "labels" / f"{k:05d}.txt").write_text("1 0.546875 0.5208333 0.15625 0.2083333\n")
    return TrainingConfig(
        name="tiny",
        model=ModelConfig(input_size_px=(96, 64), strides_px=SPEC.strides_px, shapes_px=SHAPES, width=0.25),
        sources=(SourceConfig(folder=str(folder)),),
        augment=AugmentConfig(paste_balls=0.0),
        steps=4,
        batch=2,
        warm_start="",
        frozen_blocks=1,
        save_every_steps=2,
    )


def cut_run(config: TrainingConfig, out: Path, root: Path, steps: int) -> None:
    """Run a recipe until it is killed after `steps` steps."""
    draw, left = Feeder.batch, iter(range(steps))

    def batch(feeder: Feeder) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return draw(feeder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Feeder, "batch", batch)
        with pytest.raises(KeyboardInterrupt):
            train(config, out, root)


def test_a_tiny_run_saves_resumes_and_exports(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxslim")
    config = tiny_recipe(tmp_path / "data")
    out = tmp_path / "run"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cut_run(config, out, tmp_path, 2)
        halfway = torch.load(out / "last.pt", weights_only=False)
        with pytest.raises(DataError, match="holds a run already"):
            train(config, out, tmp_path)
        weights = train(config, out, tmp_path, resume=True)
    last = torch.load(out / "last.pt", weights_only=False)
    assert (halfway["step"], last["step"]) == (2, 4)
    frozen, trained = "stem.conv.weight", "heads.0.classes.weight"
    assert torch.equal(halfway["network"][frozen], last["network"][frozen])
    assert not torch.equal(halfway["network"][trained], last["network"][trained])
    assert json.loads((out / "recipe.json").read_text())["name"] == "tiny"
    network = SsdLite(SPEC, width=0.25)
    network.load_state_dict(torch.load(weights, weights_only=True)["network"])
    export(network, tmp_path / "tiny.onnx")  # raises when ONNX Runtime and PyTorch differ
    assert (tmp_path / "tiny.onnx").stat().st_size > 10_000
    other = tmp_path / "other"
    shutil.copytree(out, other)
    torch.save({"network": {k: v + 2.0 for k, v in network.state_dict().items()}, "step": 9}, other / "ema.pt")
    _, mean, words = load_mean([out, other])
    torch.testing.assert_close(mean.state_dict()[trained], network.state_dict()[trained] + 1.0)
    assert "4 steps" in words
    assert "9 steps" in words
    recipe = json.loads((other / "recipe.json").read_text())
    recipe["model"]["input_size_px"] = [64, 32]
    (other / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(DataError, match="networks differ"):
        load_mean([out, other])


def test_a_missing_start_is_named(tmp_path: Path) -> None:
    config = tiny_recipe(tmp_path / "data")
    with pytest.raises(DataError, match="train the stage before"):
        train(dataclasses.replace(config, checkpoint="nothing.pt"), tmp_path / "run", tmp_path)
    with pytest.raises(DataError, match="no warm-start weights"):
        train(dataclasses.replace(config, warm_start="nothing.tflite"), tmp_path / "run", tmp_path)
