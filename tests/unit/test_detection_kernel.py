"""The letterbox kernel: its arithmetic equals the processor's letterbox, and nvcc compiles it for the robot's GPU."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from perception.detection.backends.nvidia.gpu_letterbox import ARGUMENTS, find_kernel
from perception.detection.kernels.build import ENTRY, SOURCE, compile_kernel, find_nvcc, kernel_path, main
from perception.detection.letterbox import PAD_VALUE, Letterbox, placement
from robot.core.errors import DetectorError
from tests.fake_nvidia import build_host_kernel

INPUT = (416, 320)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    return build_host_kernel(tmp_path_factory.mktemp("kernel"))


def on_host(kernel: Callable[..., None], image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run the kernel's arithmetic as the backend launches it."""
    size = image.shape[1], image.shape[0]
    at = placement(size, INPUT)
    blob = np.full((1, 3, INPUT[1], INPUT[0]), np.nan, np.float32)
    arguments = [image.ctypes.data, blob.ctypes.data, *size, 3 * size[0], *at.resized_px, *at.offset_px, *INPUT]
    kernel(*arguments, PAD_VALUE)
    return blob


@pytest.mark.parametrize(
    "size",
    [(640, 480), (1280, 720), (1920, 1080), (224, 224), INPUT, (832, 640), (333, 517), (100, 37), (1, 1), (2, 900)],
    ids=str,
)
def test_it_equals_the_processors_letterbox(kernel: Callable[..., None], size: tuple[int, int]) -> None:
    """The same bits as OpenCV on x86; where OpenCV's resize rounds otherwise (Arm), at most one grey level apart."""
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    expected, _ = Letterbox(INPUT)(image)
    found = on_host(kernel, image)
    assert np.isfinite(found).all()
    levels = np.abs(found - expected) * 127.5
    assert levels.max() <= (1e-4 if platform.machine() == "x86_64" else 1.001)


def test_colours_change_places_and_the_border_is_grey(kernel: Callable[..., None]) -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 255, 51, 0  # blue, green, red
    blob = on_host(kernel, image)
    np.testing.assert_allclose(blob[0, :, 160, 208], [-1.0, -0.6, 1.0], atol=1e-6)
    np.testing.assert_array_equal(blob[0, :, [0, 3, 316, 319], 0], np.float32(PAD_VALUE) / np.float32(127.5) - 1)


def test_the_kernel_and_the_backend_agree_on_its_parameters() -> None:
    """A wrong count or kind here is a crash on the robot; P is a pointer, i an int."""
    head = SOURCE.read_text().split("void letterbox(")[1].split(")")[0]
    kinds = ["P" if "*" in parameter else parameter.split()[0][0] for parameter in head.split(",")]
    assert "".join(kinds) == ARGUMENTS
    assert f"void {ENTRY}(" in SOURCE.read_text()


@pytest.fixture
def nvcc() -> Path:
    try:
        return find_nvcc()
    except DetectorError as error:
        pytest.skip(f"nvcc is not installed here, so nothing was compiled for a GPU ({error.message})")


@pytest.mark.parametrize(("arch", "magic"), [("compute_87", b"//"), ("sm_87", b"\x7fELF")])
def test_nvcc_compiles_it_for_an_orin(nvcc: Path, tmp_path: Path, arch: str, magic: bytes) -> None:
    made = compile_kernel(arch, tmp_path / "new")
    content = made.read_bytes()
    assert content.startswith(magic)
    assert ENTRY.encode() in content
    assert [p.name for p in made.parent.iterdir()] == [made.name], "scratch files were left behind"
    assert find_kernel(made.parent, "sm_87") == made
    if made.suffix == ".ptx":
        text = content.decode()
        assert f".visible .entry {ENTRY}(" in text
        assert "div.rn.f32" in text, "division is not correctly rounded: the result would differ from the processor's"
        assert "fma" not in text, "fused operations would differ from the processor's"


def test_an_architecture_that_nvcc_refuses_shows_its_message(nvcc: Path, tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"nvcc cannot compile.*(?s:.)*--list-gpu-arch"):
        compile_kernel("sm_11", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_names_and_a_missing_compiler_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DetectorError, match="no GPU architecture '87'"):
        compile_kernel("87", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.delenv("NVCC", raising=False)
    assert main(["--arch", "sm_87", "--out", str(tmp_path)]) == 1
    assert "cuda-nvcc" in capfd.readouterr().err


def test_a_kernel_of_other_source_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_path(tmp_path, "sm_87").write_bytes(b"old")
    monkeypatch.setattr("perception.detection.kernels.build.NVCC_FLAGS", ("-O1",))
    with pytest.raises(DetectorError, match=r"kernels\.build --arch sm_87"):
        find_kernel(tmp_path, "sm_87")
