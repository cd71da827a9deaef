"""Headless OpenGL for MuJoCo: picks the back-end before `mujoco` is imported, and says what to install when none works.

EGL first, OSMesa second (their pixels are equal here); without either the physics still runs and the first renderer
says what is missing. Software rasterising (llvmpipe) would start one thread per core; the evaluation already runs one
worker per core, so it is kept to the calling thread.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from types import ModuleType

from robot.core.errors import MissingExtraError, SimulationError

_LIBRARIES = {"egl": ("libEGL.so.1",), "osmesa": ("libOSMesa.so.8", "libOSMesa.so")}
_HINT = "apt-get install libegl1 libgl1-mesa-dri    (or libosmesa6); then `blackout doctor` checks it again"


def _loadable(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def choose_back_end(loadable: Callable[[str], bool] = _loadable) -> str:
    """Return `egl`, `osmesa`, or `disable` when neither library is here (MuJoCo's import would fail otherwise)."""
    for name, libraries in _LIBRARIES.items():
        if any(loadable(library) for library in libraries):
            return name
    return "disable"


def _hint() -> str:
    """Return the mend; a back-end that somebody has named himself is the first suspect."""
    named = os.environ.get("MUJOCO_GL", "")
    return _HINT if named in ("", choose_back_end()) else f"unset MUJOCO_GL (it says {named!r}), or {_HINT}"


def import_mujoco() -> ModuleType:
    """Import MuJoCo with a headless back-end chosen; a MUJOCO_GL that is set already stands.

    MuJoCo binds its OpenGL loader at its first import, so this has to be the first import of it in the process.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        SimulationError: MuJoCo or the chosen OpenGL cannot be loaded.
    """
    if "mujoco" not in sys.modules:
        back_end = os.environ.setdefault("MUJOCO_GL", choose_back_end())
        if back_end in _LIBRARIES:
            os.environ.setdefault("PYOPENGL_PLATFORM", back_end)
        os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        import mujoco
    except ModuleNotFoundError as error:
        raise MissingExtraError("MuJoCo is not installed", hint="pip install 'blackout-robot[sim]'") from error
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        # PyOpenGL raises AttributeError when the library behind the wanted platform is missing.
        raise SimulationError(f"no headless OpenGL for MuJoCo ({error})", hint=_hint()) from error
    module: ModuleType = mujoco
    return module


def renderer_error(error: BaseException) -> SimulationError:
    """Return the error to raise when a rendering context cannot be made."""
    back_end = os.environ.get("MUJOCO_GL", "default")
    return SimulationError(f"cannot open a headless OpenGL context ({back_end}: {error})", hint=_hint())


def headless_backend() -> str:
    """Open and close a small context; return what renders here, for people.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        SimulationError: no headless OpenGL; the hint names the apt packages.
    """
    mujoco = import_mujoco()
    try:
        model = mujoco.MjModel.from_xml_string("<mujoco/>")
        mujoco.Renderer(model, 16, 16).close()
    except Exception as error:
        raise renderer_error(error) from error
    return f"MuJoCo {mujoco.__version__}, {os.environ.get('MUJOCO_GL', 'default')}"
