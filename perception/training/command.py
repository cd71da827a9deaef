"""What every `python -m perception.training...` has in common: errors are told as `blackout` tells them."""

from __future__ import annotations

import sys
from collections.abc import Callable

from robot.core.errors import RobotError


def run(main: Callable[[], None]) -> int:
    """Call a module's `main`; returns 0, or 1 with the error and its mend on stderr instead of a traceback."""
    try:
        main()
    except RobotError as error:
        print(f"error [{error.code}]: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a file that may not be read
        print(f"error [{type(error).__name__}]: {error}", file=sys.stderr)
        return 1
    return 0
