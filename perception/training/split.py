"""Make the committed split of the real pictures: contiguous blocks are held back, near-duplicates left out.

The set interleaves video frames: in a random split a third of the test pictures has a near-duplicate in training,
and its score flatters. Here whole stretches are held back per band, and a training picture that looks nearly like a
held-back one (root mean square difference of 16x16 grey thumbnails) is used for neither.

The competition photographs are shuffled over venues, so some held-back ones (177, 179, 192, 201, 257) share a hall with
training pictures (237, 238, 202, 205). The part `photos_new_venue` holds those of one hall (blue drapes) of which, by
eye, no training picture exists.

    python -m perception.training.split --folder ../shared/data/ssl-images
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from perception.training.config import HERE
from perception.training.dataset import items_of

BANDS = (
    ("photos", ((0, 258),)),
    ("photos_new_venue", ((185, 191), (194, 200), (245, 256))),
    ("lab", ((259, 599),)),
    ("lab_video", ((600, 816),)),
    ("cyan", ((817, 930),)),
)
HELD_BACK = ((165, 201), (243, 258), (393, 427), (571, 599), (612, 633), (749, 772), (799, 816), (841, 863))
NEAR_DUPLICATE_RMSE = 12.0


def make_split(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names (stems) that are held back, and those left out as near-duplicates of them."""
    items = items_of(folder)
    thumbs = []
    for item in items:
        grey = cv2.imread(str(item.image), cv2.IMREAD_GRAYSCALE)
        thumbs.append(cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).ravel())  # type: ignore[arg-type]
    table = np.asarray(thumbs, np.float32)
    held = np.array([any(a <= i.number <= b for a, b in HELD_BACK) for i in items])
    distance = np.sqrt(((table[:, None] - table[None, held]) ** 2).mean(-1)).min(axis=1)
    left_out = ~held & (distance < NEAR_DUPLICATE_RMSE)
    names = np.array([i.image.stem for i in items])
    return names[held].tolist(), names[left_out].tolist()


def main() -> None:
    """Write `splits/ssl_images.toml`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("../shared/data/ssl-images"))
    parser.add_argument("--out", type=Path, default=HERE / "splits" / "ssl_images.toml")
    args = parser.parse_args()
    held, left_out = make_split(args.folder)
    lines = ["# Made by `python -m perception.training.split`; do not edit."]
    for key, names in (("held_back", held), ("left_out", left_out)):
        lines.append(f"{key} = [")
        lines += ["  " + " ".join(f'"{n}",' for n in names[i : i + 12]) for i in range(0, len(names), 12)]
        lines.append("]")
    for name, ranges in BANDS:
        text = ", ".join(f"[{first}, {last}]" for first, last in ranges)
        lines += ["", "[[bands]]", f'name = "{name}"', f"ranges = [{text}]"]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{args.out}: {len(held)} held back, {len(left_out)} left out")


if __name__ == "__main__":
    main()
