"""What a stranger types wrong or lacks is said in a sentence with its mend, before the work and without a traceback."""

from __future__ import annotations

import importlib
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from perception.camera import load_camera
from perception.camera.parameters import CameraNoise
from perception.camera.store import write_camera
from robot.cli import doctor
from robot.cli import main as cli
from robot.cli._outputs import check_outputs
from robot.cli.main import main
from robot.core.errors import OutputError
from robot.core.files import write_whole

NOWHERE = Path("/proc/nowhere/x.json")


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["challenge", "--json", str(NOWHERE)],
        ["evaluate-tracks", "--json", str(NOWHERE)],
        ["evaluate-localisation", "--out", "/proc/nowhere"],
        ["evaluate-calibration", "lens", "--out", "/proc/nowhere"],
        ["evaluate-lines", "--out", "/proc/nowhere"],
        ["evaluate-detector", "--json", str(NOWHERE)],
        ["train", "full_real", "--out", "/proc/nowhere"],
        ["render", "--out", "/proc/nowhere"],
        ["bench", "--json", str(NOWHERE)],
        ["doctor", "--json", str(NOWHERE)],
        ["demo", "--out", "/proc/nowhere"],
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(argv, capsys)
    assert said.startswith("error [output]: cannot write ")
    assert "/proc/nowhere" in said
    assert "mend: " in said


@pytest.mark.parametrize(
    "argv",
    [
        ["challenge", "--trials", "1"],
        ["challenge", "--trials", "2", "--workers", "2"],
        ["hil", "--target", "library"],
        ["render", "--count", "1"],
        ["evaluate-lines", "--count", "1"],
        ["evaluate-calibration", "lens"],
    ],
    ids=" ".join,
)
def test_a_negative_seed_is_wrong_usage(argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path)] if argv[0] == "render" else []
    assert main([*argv, "--seed", "-1", *out]) == 2
    assert "error [config]: a seed is 0 or more, not -1" in capsys.readouterr().err


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        check_outputs(files=[tmp_path])


def test_trying_leaves_nothing_behind_and_changes_nothing(tmp_path: Path) -> None:
    there = tmp_path / "there.txt"
    there.write_text("kept")
    check_outputs(files=[there, tmp_path / "new" / "x.json", None, Path("/dev/null")], folders=[tmp_path / "folder"])
    assert there.read_text() == "kept"
    assert list((tmp_path / "new").iterdir()) == []
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_file_is_replaced_wholly_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full, and a name that cannot be given: what was there is there still, and nothing beside it."""
    there, link = tmp_path / "camera.toml", tmp_path / "link.toml"
    there.write_text("kept")
    there.chmod(0o640)
    link.symlink_to(there)
    no_text = "\ud800"  # half a surrogate pair cannot be encoded
    with pytest.raises(UnicodeEncodeError):
        write_whole(link, "new " + no_text)
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:

            def full_disk(*_: object) -> None:
                raise OSError(28, "No space left on device")

            patched.setattr(os, name, full_disk)
            with pytest.raises(OutputError, match=r"link\.toml: No space left") as refused:
                write_whole(link, "new")
        assert "disk" in refused.value.hint
    assert there.read_text() == "kept"
    write_whole(link, "new\n")
    assert there.read_bytes() == b"new\n"
    assert there.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    write_whole(tmp_path / "folder" / "new.toml", "first")
    write_whole(Path("/dev/null"), "gone")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["camera.toml", "folder", "link.toml", "new.toml"]


def test_a_camera_file_that_cannot_be_replaced_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out` may be the `--camera` that was read: cut in the middle, it would be lost with all that it knew."""
    path, camera = tmp_path / "camera.toml", load_camera("c922_640x480")
    write_camera(path, camera, "made by a test")
    before = path.read_text()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_camera(path, replace(camera, noise=CameraNoise(row_px=2.0)))
    assert path.read_text() == before
    monkeypatch.undo()
    write_camera(path, replace(camera, noise=CameraNoise(row_px=2.0)))
    assert load_camera(path).noise.row_px == 2.0


def test_any_other_file_trouble_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "x"))

    monkeypatch.setattr("robot.cli.doctor.examine", full_disk)
    assert f"cannot read or write {tmp_path / 'x'}: No space left on device" in refused(["doctor"], capsys)


def without(module: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a verb in a Python that lacks a module."""
    code = f"import sys; sys.modules[{module!r}] = None; from robot.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "verb", "mend"),
    [("cobs", "play", "pip install cobs"), ("mcap", "report", "pip install mcap"), ("cv2", "render", "opencv-python")],
)
def test_a_missing_package_is_named_with_its_mend(module: str, verb: str, mend: str) -> None:
    done = without(module, verb, "--help")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"error [missing_extra]: the Python package of '{module}' is not installed" in done.stderr
    assert mend in done.stderr


@pytest.mark.parametrize("argv", [["train", "full_real"], ["evaluate-detector", "--model", "fast"]])
def test_what_scores_need_is_missed_before_the_work(argv: list[str], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs the [train] extra")
    where = ["--out", str(tmp_path)] if argv[0] == "train" else ["--folder", str(tmp_path)]
    done = without("pycocotools", *argv, *where)
    assert done.returncode == 2
    assert "pycocotools" in done.stderr
    assert '.[train]"' in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "package"),
    [("cobs", "cobs"), ("mcap", "mcap"), ("onnxruntime", "ONNX Runtime"), ("cv2", "opencv-python")],
)
def test_the_doctor_does_not_pass_a_robot_that_lacks_a_package(module: str, package: str) -> None:
    done = without(module, "doctor")
    assert done.returncode == 1, done.stdout
    assert f"MISS {package} " in done.stdout
    assert "needed thing" in done.stdout.splitlines()[-1]


def test_the_doctor_does_not_ask_a_robot_for_the_simulator() -> None:
    done = without("mujoco", "doctor")
    assert done.returncode == 0, done.stdout
    assert "-    headless renderer" in done.stdout
    assert "all that is needed to play is here" in done.stdout


def test_the_doctor_looks_at_every_package_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {r.name for r in requirements(monkeypatch, jetson=False)}
    missing = {name for name in named if not name.startswith("onnxruntime")} - set(doctor.NEEDED)
    assert missing - ({"tomli"} if sys.version_info >= (3, 11) else set()) == set()
    assert len(named) >= 10


def requirements(monkeypatch: pytest.MonkeyPatch, *, jetson: bool) -> list[Requirement]:
    """What setup.py asks pip for, on a Jetson or elsewhere."""
    asked: dict[str, list[str]] = {}
    exists = Path.exists
    monkeypatch.setattr("setuptools.setup", lambda **keywords: asked.update(keywords))
    monkeypatch.setattr(Path, "exists", lambda p: jetson if p == Path("/etc/nv_tegra_release") else exists(p))
    runpy.run_path(str(Path(__file__).parents[2] / "setup.py"))
    return [Requirement(text) for text in asked["install_requires"]]


@pytest.mark.parametrize(
    ("machine", "system", "runtime"),
    [
        ("x86_64", "linux", "onnxruntime-gpu"),
        ("aarch64", "linux", "onnxruntime"),
        ("arm64", "darwin", "onnxruntime"),
        ("AMD64", "win32", "onnxruntime"),
    ],
)
def test_pip_brings_opencv_and_one_onnx_runtime_everywhere_but_on_a_jetson(
    machine: str, system: str, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"platform_machine": machine, "sys_platform": system}
    asked = requirements(monkeypatch, jetson=False)
    names = [r.name for r in asked if r.marker is None or r.marker.evaluate(where)]
    assert [n for n in names if n.startswith(("onnx", "opencv"))] == ["opencv-python", runtime]
    on_jetson = [r.name for r in requirements(monkeypatch, jetson=True)]
    assert not any(n.startswith(("onnx", "opencv")) for n in on_jetson)
    assert "numpy" in on_jetson


def test_a_broken_import_of_our_own_stays_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "verbs", lambda: {"gone": "robot.cli.gone"})
    with pytest.raises(ModuleNotFoundError):
        main(["gone"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["bench", "--rounds", "0"], "--rounds must be at least 1"),
        (["evaluate-tracks", "--trials", "0", "--cluttered", "0"], "no trial to judge"),
        (["link", "monitor", "--seconds", "-1"], "--seconds and --seed are not negative"),
        (["link", "soak", "--faults", "nan"], "--faults is 0 to 1"),
        (["link", "soak", "--period-ms", "0"], "--period-ms 1 to 100"),
        (["render", "--out", "runs/x", "--preview", "sheet.xyz"], "--preview should end in .png or .jpg"),
        (["export-frames", "run.mcap", "--out", "runs/x", "--every-s", "nan"], "--every-s and --change must be 0"),
        (["evaluate-calibration", "bump", "--sizes-deg", "nan"], "no camera is wrong by more"),
        (["evaluate-calibration", "turn", "--wrong", "500", "0", "0", "0"], "no camera is wrong by more"),
    ],
)
def test_numbers_and_names_that_cannot_be_are_wrong_usage(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert said in capsys.readouterr().err


def test_examples_of_help_are_lines_of_their_own_and_name_what_the_demo_writes() -> None:
    """tyro joins lines that are not indented: several examples became one."""
    for verb, module in cli.verbs().items():
        doc = importlib.import_module(module).__doc__ or ""
        joined = [line for line in doc.splitlines() if line.startswith("blackout ")]
        assert joined == [], verb
        assert sum(line.startswith("Example: ") for line in doc.splitlines()) <= 1, verb
        assert "runs/demo/trial.mcap" not in doc, verb
