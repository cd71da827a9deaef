"""What a play is, and the kind that most are: skills in turn, chosen by a table of what follows on what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from control.registry import Registry
from control.skills.skill import SKILLS, Skill, SkillStep, Status, View
from robot.core.messages import TeamMessage

_HELD_UP_S = 2.0
"""A glitch of the link is over sooner, and a skill goes on where it was."""


class Play(Protocol):
    """One way to play a stage. A fresh instance is made at every FORCE_START.

    `on_field`: it needs places on the field, so its world frame is the field's as soon as that is known, and jumps
    then. Otherwise its world frame is that of dead reckoning throughout.
    """

    name: ClassVar[str]
    on_field: ClassVar[bool]

    def decide(self, view: View, team: tuple[TeamMessage, ...]) -> tuple[str, SkillStep]:
        """Return the name of the acting skill and its step for this tick."""
        ...


PLAYS: Registry[Play] = Registry("play")
"""Plays by name: `stage1` plays stage 1, and so on."""


class SkillPlay:
    """Runs skills by a transition table: (skill, how it ended) -> next skill.

    Subclasses give `first` and `table`, and override `interrupt` for what must not wait until a skill ends and
    `ended` for what is to be noted when one does. When nothing follows the play is over: the robot stands,
    until `interrupt` asks for something.
    """

    name: ClassVar[str] = ""
    on_field: ClassVar[bool] = False
    first: ClassVar[str] = ""
    table: ClassVar[Mapping[tuple[str, Status], str]] = {}

    def __init__(self) -> None:
        self._skills: dict[str, Skill] = {}
        self._current: Skill | None = None
        self._over = ""
        self._acted_ns: int | None = None

    @property
    def current(self) -> str:
        """The name of the skill that acts, or will act first."""
        return self._current.name if self._current is not None else self.first

    def interrupt(self, view: View) -> str | None:
        """Return a skill to change to at once, or None."""
        return None

    def ended(self, view: View, skill: str, step: SkillStep) -> str | None:
        """Return the skill that follows when one has ended: the table's, unless a subclass knows better; or None."""
        return self.table.get((skill, step.status))

    def decide(self, view: View, team: tuple[TeamMessage, ...]) -> tuple[str, SkillStep]:
        """See `Play.decide`. The step that ends a skill is still carried out; the next skill steps in the next tick.

        A skill that was held up for long (SAFE_STOP) begins afresh: its clocks went on, and would say that time is up;
        and hands may have moved robot and ball.
        """
        held_up = self._acted_ns is not None and view.seconds_since(self._acted_ns) > _HELD_UP_S
        self._acted_ns = view.t_now_ns
        wanted = self.interrupt(view)
        if self._current is None or (wanted is not None and (self._over or wanted != self._current.name)):
            self._current, self._over = self._enter(wanted or self.first, view), ""
        elif held_up:
            self._current.enter(view)
        acting = self._current
        if self._over:
            return acting.name, SkillStep(view.stop(), "over", self._over)
        step = acting.step(view)
        if step.status is not Status.RUNNING:
            following = self.ended(view, acting.name, step)
            if following is None:
                self._over = f"nothing follows on {acting.name} ({step.status.value})"
            else:
                self._current = self._enter(following, view)
        return acting.name, step

    def _enter(self, name: str, view: View) -> Skill:
        if name not in self._skills:
            self._skills[name] = SKILLS.create(name)
        self._skills[name].enter(view)
        return self._skills[name]
