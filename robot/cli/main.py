"""`blackout VERB ...`: finds the verb's file, reads its flags, prints errors with their mend."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from robot.core.errors import MissingExtraError, RobotError

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
_ROOMS = ("robot", "perception", "control", "firmware_bridge", "sim")
_PIP = {
    "cv2": "pip install opencv-python (on a Jetson: JetPack's, in a venv with --system-site-packages)",
    "serial": "pip install pyserial",
    "foxglove": "pip install foxglove-sdk",
    **dict.fromkeys(("mujoco", "joblib"), "pip install 'blackout-robot[sim]'"),
    **dict.fromkeys(("unicorn",), "pip install 'blackout-robot[hil]'"),
    **dict.fromkeys(("pycuda",), "pip install 'blackout-robot[gpu]'"),
    **dict.fromkeys(
        ("torch", "onnx", "onnxslim", "pycocotools", "tflite", "matplotlib"), "pip install 'blackout-robot[train]'"
    ),
}
"""What brings a module whose package has another name, or that belongs to an extra."""


def verbs() -> dict[str, str]:
    """Return each verb and the module that serves it: one short file per verb beside this one."""
    here = Path(__file__).parent
    names = sorted(p.stem for p in here.glob("*.py") if p.stem not in ("__init__", "main") and p.stem[0] != "_")
    return {name.removesuffix("_").replace("_", "-"): f"robot.cli.{name}" for name in names}


def usage() -> str:
    """Return the text of `blackout --help`: a line per verb, taken from the first line of its module."""
    lines = ["usage: blackout VERB [flags]    (blackout VERB --help shows the flags and an example)", ""]
    for verb, module_name in verbs().items():
        path = Path(__file__).parent / f"{module_name.rsplit('.', 1)[-1]}.py"
        first = path.read_text(encoding="utf-8").split('"""')[1].strip().splitlines()[0]
        lines.append(f"  {verb:14s} {first}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 done, 1 failed or found wanting, 2 wrong usage or configuration.

    Each verb's module has a dataclass `Args` (its flags, read by tyro) and `run(args) -> int`.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return EXIT_OK if argv else EXIT_USAGE
    verb, rest = argv[0], argv[1:]
    known = verbs()
    if verb not in known:
        print(f"error: unknown verb '{verb}'\n\n{usage()}", file=sys.stderr)
        return EXIT_USAGE
    try:
        import tyro

        module = importlib.import_module(known[verb])
        rest = module.rewrite(rest) if hasattr(module, "rewrite") else rest
        args = tyro.cli(module.Args, args=rest, prog=f"blackout {verb}", description=module.__doc__)
        return int(module.run(args))
    except RobotError as error:
        return _refuse(error)
    except ImportError as error:
        return _refuse(_missing(error))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return EXIT_FAILED
    except OSError as error:  # a full disk, a file that may not be read: no fault of ours that a traceback would show
        what = f"cannot read or write {error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error [{type(error).__name__}]: {what}", file=sys.stderr)
        return EXIT_FAILED


def _refuse(error: RobotError) -> int:
    print(f"error [{error.code}]: {error}", file=sys.stderr)
    return EXIT_USAGE if error.code in ("config", "data", "missing_extra") else EXIT_FAILED


def _missing(error: ImportError) -> MissingExtraError:
    """Return the mend of an import that failed; a module of our own that lacks something is a bug, raised again."""
    module = (error.name or "").partition(".")[0]
    if module in _ROOMS:
        raise error
    hint = _PIP.get(module, f"pip install {module}") if module else "blackout doctor"
    what = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be used: {error}"
    return MissingExtraError(f"the Python package of '{module or '?'}' {what}", hint=f"{hint}; all: blackout doctor")


if __name__ == "__main__":
    sys.exit(main())
