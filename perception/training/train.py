"""Train the detector from one TOML recipe; `blackout train` is the door.

Leaves in the run's folder: `recipe.json`, `log.jsonl` (one line per report), `curves.png`, `last.pt` (everything
that a resumed run needs) and `ema.pt` (averaged weights, what is exported).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from perception.detection.decode import decode, suppress
from perception.detection.detector import to_detections
from perception.detection.letterbox import Letterbox
from perception.training import checkpoint, warm_start
from perception.training.config import TrainingConfig
from perception.training.curves import draw_curves
from perception.training.dataset import Item, check_labels, held_back_items, load_split
from perception.training.fake_quant import FakeQuant
from perception.training.feeder import Feeder
from perception.training.loss import detection_loss
from perception.training.network import ConvBn, SsdLite
from perception.training.scoring.evaluate import Scores, collect, evaluate
from perception.training.sparsity import Pruner
from robot.core.config import config_hash
from robot.core.errors import DataError
from robot.core.messages import Detection

BOX_LOSS_WEIGHT = 2.0
GRADIENT_NORM = 10.0
MAYBE_AN_OBJECT = 0.25
"""From this score on the network that a run begins with is believed about unlabelled objects."""


def torch_detect(network: torch.nn.Module, config: TrainingConfig, score_threshold: float = 0.02) -> Any:
    """Return `detect(image_bgr)` that runs the network with the production letterbox, decode and suppression."""
    letterbox, anchors = Letterbox(config.model.input_size_px), config.model.anchors.boxes().tolist()

    def detect(image_bgr: Any) -> tuple[Detection, ...]:
        blob, where = letterbox(image_bgr)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            logits, offsets = network(torch.from_numpy(blob).contiguous(memory_format=torch.channels_last))
        raw = decode(logits[0].float().numpy(), offsets[0].float().numpy(), anchors, score_threshold)
        return to_detections(suppress(raw, 0.5), where)

    return detect


def score(network: torch.nn.Module, config: TrainingConfig, root: Path) -> dict[str, Scores]:
    """Evaluate on the held-back pictures of the sources that have a split: `all` and one entry per band."""
    results = []
    bands: dict[str, list[Item]] = {}
    for source in config.sources:
        if source.split:
            items = held_back_items(root / source.folder, source.split)
            results += collect(torch_detect(network, config), items)
            for name, part in load_split(source.split).by_band(items).items():
                bands.setdefault(name, []).extend(part)
    parts = {"all": evaluate(results)} if results else {}
    for name, part in bands.items():
        parts[name] = evaluate([r for r in results if r[0] in part])
    return parts


def moving_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """Return the update of an exponential moving average that forgets its start: decay (1 + n) / (10 + n) at first.

    Without that, a short run's average still holds the untrained heads (AP 0 where the network itself has 0.4).
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
        count = int(updates)
        weight = 1.0 - min(decay, (1 + count) / (10 + count))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:  # counters
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)

    return update


def _groups(network: SsdLite, config: TrainingConfig) -> list[dict[str, Any]]:
    """Parameter groups: heads fast, backbone slower; no decay on norms and biases."""
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            head = name.startswith(("heads", "context"))
            groups.setdefault((head, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "peak": config.head_learning_rate * (1.0 if head else config.backbone_factor),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (head, decays), parameters in groups.items()
    ]


def _calibration(feeder: Feeder, count: int) -> Iterator[Tensor]:
    for _ in range(count):
        yield feeder.batch()[0]


def prepare(config: TrainingConfig, feeder: Feeder, root: Path) -> SsdLite:
    """Build the network with the weights that the recipe begins with.

    Raises:
        DataError: the named checkpoint or warm-start file is missing, cut, or does not fit.
    """
    torch.manual_seed(config.seed)
    network = SsdLite(config.model.anchors, config.model.width)
    if config.checkpoint:
        path, mend = root / config.checkpoint, "train the stage before it first"
        state = checkpoint.read_state(path, mend)
        try:
            network.load_state_dict(state["network"])
        except checkpoint.UNREADABLE as error:
            raise DataError(f"cannot start from {path}: {str(error)[:300]}", hint=mend) from error
    elif config.start_from:
        warm_start.load_onnx(network, root / config.start_from)
        every = [module for module in network.modules() if isinstance(module, ConvBn)]
        warm_start.calibrate(network, _calibration(feeder, 6), every)
    elif config.warm_start:
        path = root / config.warm_start
        if not path.is_file():
            raise DataError(f"no warm-start weights at {path}", hint="python -m perception.training.warm_start")
        warm_start.load_into(network, path)
        warm_start.calibrate(network, _calibration(feeder, 6))
    network.freeze(config.frozen_blocks)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def train(config: TrainingConfig, out: Path, root: Path, *, resume: bool = False) -> Path:
    """Run the recipe; returns the path of the averaged weights.

    Args:
        config: the recipe.
        out: folder for checkpoints and logs, made when missing.
        root: the project's root, which the recipe's paths are relative to.
        resume: go on from `out/last.pt` when it is there; the recipe must be the same, see `checkpoint.MAY_DIFFER`.

    Raises:
        DataError: `out` holds a run and `resume` is not set, or the run has another recipe or a cut checkpoint; or what
            the recipe begins with is missing or cut; or a label file does not fit.
    """
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(1)
    last = out / "last.pt"
    if last.is_file() and not resume:
        raise DataError(f"{out} holds a run already", hint="--resume goes on with it; or give another --out")
    state = None
    if last.is_file():
        checkpoint.check_same_recipe(config, out)
        state = checkpoint.read_state(last, checkpoint.ANEW)
    elif resume:
        print(f"no {last} to resume from: a new run begins")
    out.mkdir(parents=True, exist_ok=True)
    feeder = Feeder(config, root)
    for source in config.sources:
        if source.split:
            check_labels(held_back_items(root / source.folder, source.split))
    network = prepare(config, feeder, root)
    if config.augment.paste_nothing > 0:
        network.eval()
        detect = torch_detect(network, config, MAYBE_AN_OBJECT)
        feeder.cut_out_nothing(lambda image: np.array([d.box_px for d in detect(image)], np.float32).reshape(-1, 4))
    average = AveragedModel(network, multi_avg_fn=moving_average(config.ema), use_buffers=True)
    optimiser = torch.optim.AdamW(_groups(network, config), lr=config.head_learning_rate)
    anchors = torch.from_numpy(config.model.anchors.boxes())
    first, spent_s = 0, 0.0
    if state is not None:
        first, spent_s = checkpoint.restore(state, network, average, optimiser, feeder.rng)
    checkpoint.write_recipe(config, out)
    log = out / "log.jsonl"
    log.touch()  # a run of a few steps has curves, too
    pictures = [len(items) for items, _ in feeder.sources]
    cut_out = f"{len(feeder.pieces.balls)} loose balls, {len(feeder.pieces.nothing)} pieces of nothing"
    print(f"{config.name} {config_hash(config)}: {pictures} pictures, {cut_out}, from step {first}")
    begin = time.monotonic() - spent_s
    sums = np.zeros(2)
    done = reported = first
    pruner, fake_quant = Pruner(network, config.sparse_from), FakeQuant(network, config.fake_quant_from)
    network.train_mode()
    for step in range(first, config.steps):
        minutes = (time.monotonic() - begin) / 60
        progress = step / config.steps
        if config.max_minutes > 0:
            progress = max(progress, minutes / config.max_minutes)
            if progress >= 1.0:
                break
        factor = config.last_rate + (1.0 - config.last_rate) * 0.5 * (1 + math.cos(math.pi * progress))
        factor *= min(1.0, (step + 1) / max(1, config.warm_up_steps))
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        images, boxes, classes = feeder.batch()
        optimiser.zero_grad(set_to_none=True)
        with fake_quant.step(progress):
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
                logits, offsets = network(images)
            class_loss, box_loss = detection_loss(logits.float(), offsets.float(), anchors, boxes, classes)
            (class_loss + BOX_LOSS_WEIGHT * box_loss).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for p in network.parameters() if p.requires_grad], GRADIENT_NORM)
        optimiser.step()
        average.update_parameters(network)
        pruner.after_step(progress, average.module)
        sums += (float(class_loss.detach()), float(box_loss.detach()))
        done = step + 1
        if done % 20 == 0:
            elapsed = time.monotonic() - begin
            share = max(done / config.steps, elapsed / 60 / config.max_minutes if config.max_minutes > 0 else 0.0)
            entry: dict[str, Any] = {
                "step": done,
                "minutes": round(elapsed / 60, 2),
                "lr": round(config.head_learning_rate * factor, 7),
            }
            class_mean, box_mean = sums / (done - reported)  # fewer than 20 steps in a resumed run's first line
            entry |= {"class_loss": round(class_mean, 4), "box_loss": round(box_mean, 4)}
            sums[:], reported = 0, done
            _report(log, entry, f"left {(elapsed / share - elapsed) / 60:.1f} min")
        if done % config.save_every_steps == 0 or done == config.steps:
            checkpoint.save(out, network, average, optimiser, feeder.rng, done, time.monotonic() - begin)
        if done % config.evaluate_every_steps == 0 and done != config.steps:
            _evaluate(log, average.module, config, root, done)
            draw_curves(out)
    checkpoint.save(out, network, average, optimiser, feeder.rng, done, time.monotonic() - begin)
    _evaluate(log, average.module, config, root, done)
    draw_curves(out)
    return out / "ema.pt"


def _report(log: Path, entry: dict[str, Any], extra: str = "") -> None:
    with log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")
    print("  ".join(f"{k} {v}" for k, v in entry.items()), extra, flush=True)


def _evaluate(log: Path, network: torch.nn.Module, config: TrainingConfig, root: Path, step: int) -> None:
    network.eval()
    parts = score(network, config, root)
    entry: dict[str, Any] = {"step": step}
    for name, scores in parts.items():
        entry |= {f"{name}_ap": round(scores.ap, 4), f"{name}_ap50": round(scores.ap50, 4)}
        entry |= {f"{name}_{n}_ap50": round(values[1], 4) for n, values in scores.per_class}
    if parts:
        _report(log, entry)
