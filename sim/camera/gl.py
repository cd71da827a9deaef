"""Headless OpenGL for MuJoCo: picks the back-end before `mujoco` is imported, and says what to install when none works.

EGL is tried first, OSMesa second (they give the same pixels here). Software rasterising (llvmpipe) would start one
thread per core; the evaluation already runs one worker per core, so it is kept to the calling thread.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from robot.core.errors import MissingExtraError, SimulationError

_HINT = (
    "apt-get install libegl1 libgl1-mesa-dri   (or libosmesa6 and set MUJOCO_GL=osmesa); "
    "`blackout doctor` checks it again"
)


def import_mujoco() -> ModuleType:
    """Import MuJoCo with a headless back-end chosen.

    MuJoCo binds its OpenGL loader at its first import, so this must be the first import of it in the process; when
    somebody else was first, their choice of MUJOCO_GL stands.

    Raises:
        MissingExtraError: MuJoCo is not installed.
    """
    if "mujoco" not in sys.modules:
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("PYOPENGL_PLATFORM", os.environ["MUJOCO_GL"])
        os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        import mujoco
    except ModuleNotFoundError as error:
        raise MissingExtraError("MuJoCo is not installed", hint="pip install 'blackout-robot[sim]'") from error
    except (ImportError, AttributeError, OSError) as error:
        # PyOpenGL raises these when libEGL or libOSMesa is missing: the loader is bound at import.
        raise SimulationError(f"no headless OpenGL for MuJoCo ({error})", hint=_HINT) from error
    module: ModuleType = mujoco
    return module


def renderer_error(error: BaseException) -> SimulationError:
    """Return the error to raise when a rendering context cannot be made."""
    back_end = os.environ.get("MUJOCO_GL", "default")
    return SimulationError(f"cannot open a headless OpenGL context ({back_end}: {error})", hint=_HINT)
