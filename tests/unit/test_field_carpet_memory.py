"""The memory of the carpet's colour: what one picture shows most of need not be carpet."""

from __future__ import annotations

import numpy as np
import pytest

from perception.field.carpet_memory import CarpetMemory, CarpetMemoryConfig

GREEN, GREY, OLIVE = (60, 110, 40), (150, 155, 152), (56, 108, 46)
MASK = np.zeros((120, 80), bool)
MASK[40:] = True
EDGE = tuple((8.0 * k + 3.5, 160.0) for k in range(80))
HALF_EDGE = tuple((8.0 * k + 3.5, 160.0 if k < 40 else 480.0) for k in range(80))


def picture(bgr: tuple[int, int, int], gain: float = 1.0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, 6.0, (480, 640, 3))
    return np.clip(np.array(bgr) * gain + noise, 0, 255).astype(np.uint8)


def test_another_colour_is_not_the_carpet_and_the_carpet_is_known_again() -> None:
    memory = CarpetMemory()
    for seed in range(10):
        assert memory.agrees(picture(GREEN, seed=seed), MASK, EDGE)
    for seed in range(20):
        assert not memory.agrees(picture(GREY, seed=seed), MASK, EDGE)
    assert memory.agrees(picture(GREEN), MASK, EDGE)
    assert memory.agrees(picture(GREEN), MASK, HALF_EDGE)  # a robot stands in the way: still the carpet


@pytest.mark.parametrize("gain", [0.6, 1.6])
def test_the_same_carpet_in_other_light_is_the_same(gain: float) -> None:
    memory = CarpetMemory()
    for seed in range(5):
        assert memory.agrees(picture(GREEN, seed=seed), MASK, EDGE)
    assert memory.agrees(picture(GREEN, gain), MASK, EDGE)
    assert memory.agrees(picture(OLIVE), MASK, EDGE)


def test_pictures_that_hardly_show_the_foot_do_not_teach() -> None:
    """The robot begins close to a board: nothing is known until it has turned away."""
    memory = CarpetMemory()
    for _ in range(10):
        assert not memory.agrees(picture(GREY), MASK, HALF_EDGE)
    assert memory.agrees(picture(GREEN), MASK, EDGE)


def test_a_lasting_change_is_learned() -> None:
    memory = CarpetMemory(CarpetMemoryConfig(relearn_frames=30))
    for seed in range(5):
        memory.agrees(picture(GREEN, seed=seed), MASK, EDGE)
    answers = [memory.agrees(picture(GREY, seed=seed), MASK, EDGE) for seed in range(40)]
    assert not any(answers[:30])
    assert all(answers[31:])


def test_no_edge_is_no_carpet() -> None:
    memory = CarpetMemory()
    assert not memory.agrees(picture(GREEN), MASK, ())
    assert not memory.agrees(picture(GREEN), np.zeros((120, 80), bool), EDGE)
    with pytest.raises(ValueError, match="positive"):
        CarpetMemoryConfig(chroma=0.0)
