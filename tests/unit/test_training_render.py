"""`blackout render`: no two runs in one folder, and a full disk leaves no picture with labels that are not its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from perception.training.dataset import items_of
from robot.cli.main import main
from robot.core.messages import ObjectClass
from sim.camera.dataset import Picture
from sim.camera.labels import Label


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that take no time: one grey, with one ball."""

    def pictures(count: int, seed: int, *_: Any, **__: Any) -> Iterator[Picture]:
        for _k in range(count):
            jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), seed, np.uint8))[1].tobytes()
            ball = Label(object_class=ObjectClass.BALL, box_px=(10.0, 10.0, 20.0, 20.0), visible_fraction=1.0)
            yield Picture(jpeg=jpeg, size_px=(64, 48), labels=(ball,))

    monkeypatch.setattr("sim.camera.dataset.labelled_pictures", pictures)


def test_pictures_of_two_runs_are_not_mixed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two thousand of one seed and five hundred of another in one folder look like one set."""
    flags = ["render", "--out", str(tmp_path)]
    assert main([*flags, "--count", "3", "--seed", "1"]) == 0
    assert main([*flags, "--count", "2", "--seed", "2"]) == 2
    assert main([*flags, "--count", "2", "--seed", "2", "--first", "2"]) == 2
    assert "00002.jpg is there already" in capfd.readouterr().err
    assert main([*flags, "--count", "2", "--seed", "2", "--first", "3"]) == 0
    assert [i.number for i in items_of(tmp_path)] == [0, 1, 2, 3, 4]
    assert main([*flags, "--count", "2", "--first", "-2"]) == 2


@pytest.mark.parametrize("suffix", [".txt", ".part"])
def test_a_disk_that_fills_up_leaves_only_pictures_with_their_own_labels(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = {"write_text": Path.write_text, "write_bytes": Path.write_bytes}

    def full(name: str) -> Any:
        def write(self: Path, content: Any, *args: Any, **kwargs: Any) -> Any:
            if self.name == f"00001{suffix}":
                kept[name](self, content[:0], *args, **kwargs)
                raise OSError(28, "No space left on device", str(self))
            return kept[name](self, content, *args, **kwargs)

        return write

    for name in kept:
        monkeypatch.setattr(Path, name, full(name))
    assert main(["render", "--out", str(tmp_path), "--count", "3"]) == 1
    assert "No space left" in capfd.readouterr().err
    assert [(i.number, len(i.load().classes)) for i in items_of(tmp_path)] == [(0, 1)]
