"""Score a detector on held-back pictures: AP, AP50, AP75, by class, size and band; false positives per picture.

Example:
    blackout evaluate-detector --model full --precision fp32 --json runs/scores.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError, MissingExtraError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Args:
    """Flags of `blackout evaluate-detector`."""

    model: str = "full"
    """A shipped model's name, or an ONNX file with its JSON beside it."""
    precision: str = "auto"
    """auto, fp32 or int8."""
    folder: Path = ROOT.parent / "shared" / "data" / "ssl-images"
    """Pictures with labels: images/ and labels/ in YOLO form."""
    split: str = "ssl_images"
    """Committed split whose held-back pictures count; an empty name takes every picture of the folder."""
    operating_score: float = 0.3
    """Score above which boxes count in the table of precision, recall and false positives."""
    as_tensorrt: bool = False
    """Score the file as TensorRT gets it (rewritten, see docs/gpu.md), run by ONNX Runtime; allows precision fp16."""
    robustness: bool = False
    """Score the pictures dimmed, tinted, blurred, noisy, compressed and low-passed instead; prints a Markdown table."""
    gallery: Path | None = None
    """Folder for an HTML page: confusion, and the worst pictures."""
    json: Path | None = None
    """Where the scores go, as JSON."""


def run(args: Args) -> int:
    """Evaluate and print; returns 0."""
    check_outputs(files=[args.json], folders=[args.gallery])
    try:
        import pycocotools.cocoeval  # noqa: F401 - missed now, not after all pictures have been looked at

        from perception.training.dataset import held_back_items, items_of, load_split
        from perception.training.scoring import evaluate as ev
    except ImportError as error:
        raise MissingExtraError(f"evaluation needs more packages: {error}", hint='pip install -e ".[train]"') from error
    from perception.detection import DetectionConfig, load_detector

    try:
        config = DetectionConfig(model=args.model, precision=args.precision, score_threshold=0.02)
    except ValueError as error:
        raise ConfigError(str(error), hint="blackout evaluate-detector --help") from error
    detector = _as_tensorrt(config) if args.as_tensorrt else load_detector(config)
    items = held_back_items(args.folder, args.split) if args.split else items_of(args.folder)
    if args.robustness:
        return _robustness(args, detector, items)
    results = ev.collect(detector.detect, items)
    parts = {"all": results}
    for name, members in load_split(args.split).by_band(items).items() if args.split else ():
        parts[name] = [r for r in results if r[0] in members]
    print(detector.description)
    report: dict[str, object] = {"model": detector.model_name, "sha256": detector.sha256, "parts": {}}
    for name, part in parts.items():
        scores, operating = ev.evaluate(part), ev.operating_point(part, args.operating_score)
        print(f"{name}:", *scores.lines(), *operating.lines(), sep="\n")
        report["parts"][name] = {**asdict(scores), "operating": asdict(operating)}  # type: ignore[index]
    if args.gallery is not None:
        from perception.training.scoring.gallery import write_gallery

        print(f"gallery: {write_gallery(results, args.gallery, args.operating_score)}")
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _robustness(args: Args, detector: Any, items: Any) -> int:
    from perception.training.scoring import robustness

    rows = robustness.measure(detector.detect, items)
    print(f"{detector.description}, {len(items)} pictures", *robustness.table(rows), sep="\n")
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        report = {"model": detector.model_name, "sha256": detector.sha256, "rows": [asdict(r) for r in rows]}
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _as_tensorrt(config: Any) -> Any:
    """Return a detector of the model that TensorRT 11 would parse for a precision; the processor runs it."""
    import tempfile
    from dataclasses import replace

    from perception.detection import load_detector
    from perception.detection.backends.nvidia.onnx_graph import network_for_tensorrt
    from perception.detection.detector import choose_precision
    from perception.detection.model import file_sha256, find_model, read_meta

    precision = choose_precision(config)
    path = find_model(config.model, precision)
    meta = read_meta(path)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / f"{path.stem}.onnx"
        written.write_bytes(network_for_tensorrt(path, precision, typed=True))
        replace(meta, name=f"{meta.name}, {precision} for TensorRT", sha256=file_sha256(written)).write(written)
        return load_detector(replace(config, model=str(written), precision="int8" if precision == "int8" else "fp32"))
