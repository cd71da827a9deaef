"""Compare two detectors by what they make up: false boxes per picture on real held-back and on cluttered pictures.

Example:
    blackout render --count 120 --seed 4242 --lookalikes 60 --out runs/render/clutter
    blackout false-positives runs/full_before.onnx full --clutter runs/render/clutter
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError, DataError, MissingExtraError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Args:
    """Flags of `blackout false-positives`."""

    models: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Models to compare, for example before and after: shipped names, or ONNX files with their JSON beside them."""
    precision: str = "auto"
    """auto, fp32 or int8; of models given as files it is the file's own."""
    folder: Path = ROOT.parent / "shared" / "data" / "ssl-images"
    """Real pictures with labels; left out where there is no such folder."""
    split: str = "ssl_images"
    """Committed split whose held-back pictures count; an empty name takes every picture of the folder."""
    clutter: Path | None = None
    """Rendered pictures with lookalikes: red and orange things, shoes, cones, lights outside the field."""
    score: float = 0.3
    """Score above which boxes count."""
    json: Path | None = None
    """Where the figures go, as JSON."""


def run(args: Args) -> int:
    """Count and print a Markdown table; returns 0."""
    check_outputs(files=[args.json])
    try:
        from perception.training.dataset import held_back_items, items_of, load_split
        from perception.training.scoring import evaluate as ev
        from perception.training.scoring import negatives
    except ImportError as error:
        raise MissingExtraError(f"evaluation needs more packages: {error}", hint='pip install -e ".[train]"') from error
    from perception.detection import DetectionConfig, load_detector

    sets = {}
    if args.folder.is_dir():
        real = held_back_items(args.folder, args.split) if args.split else items_of(args.folder)
        sets["real, held back" if args.split else str(args.folder.name)] = real
        photos = load_split(args.split).by_band(real).get("photos") if args.split else None
        if photos:
            sets["of these competition photographs"] = photos
    else:
        print(f"{args.folder}: no such folder, so no real pictures are counted", file=sys.stderr)
    if args.clutter is not None:
        sets["rendered clutter"] = items_of(args.clutter)
    if not sets or not args.models:
        raise DataError("nothing to compare", hint="blackout false-positives BEFORE AFTER --clutter FOLDER")
    rows = []
    for model in args.models:
        try:
            config = DetectionConfig(model=model, precision=args.precision, score_threshold=args.score)
        except ValueError as error:
            raise ConfigError(str(error), hint="blackout false-positives --help") from error
        detector = load_detector(config)
        name = f"{model} ({detector.model_name}, {detector.sha256[:8]})"
        for pictures, items in sets.items():
            counts = negatives.count(ev.collect(detector.detect, items), args.score)
            rows.append((pictures, name, counts))
    rows.sort(key=lambda row: list(sets).index(row[0]))
    print(f"score above {args.score:g}", *negatives.comparison_table(rows), sep="\n")
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        entries = [{"pictures_of": s, "model": name, **asdict(found)} for s, name, found in rows]
        args.json.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return 0
