"""The bench on toy models: the figures are there, counted right and consistent with each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models and multiply-adds need the package onnx")

from perception.detection import DetectionConfig
from perception.detection.model import MODELS_DIR
from robot.runtime import bench_vision as b
from robot.runtime.multiply_rate import Macs, count_macs
from tests.toy_network import write_int8, write_toy

MACS = 8 * 16 * 8 * 3 * 4 * 4 + 2 * 7 * 8 * 8 * 8
"""Of the toy: the first convolution at 8 x 16 places, the second at two."""
FRAMES = [np.full((480, 640, 3), level, np.uint8) for level in (0, 90, 255)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    write_int8(write_toy(path))
    return path


def test_multiply_adds_are_counted_by_the_kind_of_their_operands(folder: Path) -> None:
    assert count_macs(folder / "toy.onnx") == Macs(fp32=MACS, int8=0)
    assert count_macs(folder / "toy.int8.onnx") == Macs(fp32=0, int8=MACS)
    assert Macs(fp32=3_000_000, int8=8_000_000).least_ms(1e9, 4e9) == pytest.approx(5.0)


def test_the_shipped_models_are_found_not_listed(folder: Path) -> None:
    assert b.shipped_models(folder) == [("toy", "fp32"), ("toy", "int8")]
    assert {name for name, _ in b.shipped_models()} == {p.stem.split(".")[0] for p in MODELS_DIR.glob("*.onnx")}


def test_every_model_has_its_stages_peers_and_bound(folder: Path) -> None:
    figures = b.bench_models(DetectionConfig(), FRAMES, rounds=5, folder=folder)
    assert set(figures["models"]) == {"toy.fp32", "toy.int8"}
    for row in figures["models"].values():
        for threads in b.THREADS:
            part = row[f"threads_{threads}"]
            assert 0 < part["inference"]["best_ms"] <= part["inference"]["median_ms"] <= part["inference"]["p99_ms"]
            assert (
                part["whole"]["best_ms"] >= part["inference"]["best_ms"] + part["around_the_network"]["best_ms"] - 1e-9
            )
            assert part["fps"] == pytest.approx(1e3 / part["whole"]["median_ms"])
            ratio = part["opencv_dnn"]["median_ms"] / part["inference"]["median_ms"]
            assert part["opencv_dnn_ratio"] == pytest.approx(ratio)
            assert part["ratio_to_bound_of_best"] == pytest.approx(part["inference"]["best_ms"] / part["bound_ms"])
    rates = figures["gmac_per_s"]
    assert set(rates) == {"fp32_1", "int8_1", "fp32_2", "int8_2"}
    expected = MACS / rates["fp32_1"] / 1e6
    assert figures["models"]["toy.fp32"]["threads_1"]["bound_ms"] == pytest.approx(expected)
    table = b.chain_table(figures)
    assert len([line for line in table if line.startswith("| toy")]) == 4
    assert {line.count("|") for line in table if line.startswith("|")} == {10}


def test_throughput_counts_frames_of_every_way(folder: Path) -> None:
    figures = b.bench_throughput(DetectionConfig(), FRAMES, seconds=0.3, blocks=2, folder=folder)
    for row in figures.values():
        assert list(row) == list(b.WAYS)
        for way, part in row.items():
            assert part["fps"] > 10
            assert part["best_fps"] <= 1e3 * b.WAYS[way][0] / part["best_ms"] * 1.01
    assert {line.count("|") for line in b.throughput_table(figures)} == {6}
