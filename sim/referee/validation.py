"""Conditions over a trial: `Eventually(touched)`, `AtEnd(holding)`; fed once a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

View = TypeVar("View")


class Eventually(Generic[View]):
    """True from the first step on at which the condition held."""

    def __init__(self, condition: Callable[[View], bool]) -> None:
        self._condition = condition
        self.holds = False

    def update(self, view: View) -> bool:
        """Look at one step; returns True when this step made it true."""
        if not self.holds and self._condition(view):
            self.holds = True
            return True
        return False


class AtEnd(Generic[View]):
    """True when the condition holds at the last step that was looked at."""

    def __init__(self, condition: Callable[[View], bool]) -> None:
        self._condition = condition
        self.holds = False

    def update(self, view: View) -> bool:
        """Look at one step; never an event of its own."""
        self.holds = self._condition(view)
        return False
