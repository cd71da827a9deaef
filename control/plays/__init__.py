"""Plays: one file per challenge stage; importing the package registers them all."""

from control.registry import import_all

import_all(__name__, __path__)
