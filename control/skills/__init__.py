"""Skills: small state machines, one file each; importing the package registers them all."""

from control.registry import import_all

import_all(__name__, __path__)
