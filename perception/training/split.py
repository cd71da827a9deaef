r"""Make a split: whole scenes are held back, near-duplicates of them left out. The committed one, or your own.

The set interleaves video frames: in a random split a third of the test pictures has a near-duplicate in training,
and its score flatters. Here whole stretches are held back per band, and a training picture that looks nearly like a
held-back one (root mean square difference of 16x16 grey thumbnails) is used for neither.

The competition photographs are shuffled over venues, so some held-back ones (177, 179, 192, 201, 257) share a hall with
training pictures (237, 238, 202, 205). The part `photos_new_venue` holds those of one hall (blue drapes) of which, by
eye, no training picture exists.

    python -m perception.training.split --folder ../shared/data/ssl-images

Of own pictures hold back whole recordings, by the beginning of their pictures' names:

    python -m perception.training.split --folder runs/own_pictures --hold-back 'play-20261126-1200_*' \
        --out runs/own_pictures/split.toml
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from perception.training.command import run
from perception.training.config import HERE
from perception.training.dataset import Item, items_of, read_picture
from robot.core.errors import ConfigError, DataError

BANDS = (
    ("photos", ((0, 258),)),
    ("photos_new_venue", ((185, 191), (194, 200), (245, 256))),
    ("lab", ((259, 599),)),
    ("lab_video", ((600, 816),)),
    ("cyan", ((817, 930),)),
)
HELD_BACK = ((165, 201), (243, 258), (393, 427), (571, 599), (612, 633), (749, 772), (799, 816), (841, 863))
NEAR_DUPLICATE_RMSE = 12.0


def is_held_back(item: Item, patterns: Sequence[str]) -> bool:
    """Whether a picture is held back: its name fits a pattern (`*`, `?`), or, without any, its number is in a block."""
    if patterns:
        return any(fnmatch.fnmatchcase(item.image.stem, pattern) for pattern in patterns)
    return any(a <= item.number <= b for a, b in HELD_BACK)


def make_split(
    folder: Path, patterns: Sequence[str] = (), near_rmse: float = NEAR_DUPLICATE_RMSE
) -> tuple[list[str], list[str]]:
    """Return the names (stems) that are held back, and those left out as near-duplicates of them.

    Args:
        folder: of the labelled pictures.
        patterns: see `is_held_back`.
        near_rmse: thumbnails that differ less (root mean square, of 255) are near-duplicates.

    Raises:
        DataError: no picture is held back, or none is left to train on; or a picture cannot be read.
    """
    items = items_of(folder)
    held = np.array([is_held_back(item, patterns) for item in items])
    if not held.any() or held.all():
        raise DataError(
            f"{'all' if held.all() else 'none'} of the {len(items)} pictures in {folder} would be held back",
            hint=f"--hold-back 'PATTERN*' with the beginning of some names, for example of {items[0].image.stem}",
        )
    thumbs = []
    for item in items:
        grey = cv2.cvtColor(read_picture(item.image), cv2.COLOR_BGR2GRAY)
        thumbs.append(cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).ravel())
    table = np.asarray(thumbs, np.float32)
    near = np.zeros(len(items), bool)
    for row in table[held]:
        near |= np.sqrt(((table - row) ** 2).mean(-1)) < near_rmse
    if (near | held).all():
        raise DataError(
            f"all pictures in {folder} look nearly like a held-back one: none would be left to train on",
            hint=f"hold back a recording of another place, or --near less than {near_rmse:g}",
        )
    names = np.array([i.image.stem for i in items])
    return names[held].tolist(), names[near & ~held].tolist()


def main() -> None:
    """Write `splits/ssl_images.toml`, or another split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("../shared/data/ssl-images"))
    parser.add_argument("--hold-back", action="append", default=[], metavar="PATTERN", help="names (*, ?); repeatable")
    parser.add_argument(
        "--near", type=float, default=NEAR_DUPLICATE_RMSE, help="thumbnails nearer than this are left out"
    )
    parser.add_argument("--out", type=Path, default=None, help="a TOML file; by default the committed split")
    args = parser.parse_args()
    if args.hold_back and args.out is None:
        raise ConfigError("--hold-back makes a split of your own", hint="say where it goes: --out FILE.toml")
    out = args.out or HERE / "splits" / "ssl_images.toml"
    held, left_out = make_split(args.folder, args.hold_back, args.near)
    kept = len(items_of(args.folder)) - len(held) - len(left_out)
    lines = ["# Made by `python -m perception.training.split`; do not edit."]
    for key, names in (("held_back", held), ("left_out", left_out)):
        lines.append(f"{key} = [")
        lines += ["  " + " ".join(f"{json.dumps(n)}," for n in names[i : i + 12]) for i in range(0, len(names), 12)]
        lines.append("]")
    for name, ranges in () if args.hold_back else BANDS:
        text = ", ".join(f"[{first}, {last}]" for first, last in ranges)
        lines += ["", "[[bands]]", f'name = "{name}"', f"ranges = [{text}]"]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{out}: {len(held)} held back, {len(left_out)} left out, {kept} to train on")


if __name__ == "__main__":
    sys.exit(run(main))
