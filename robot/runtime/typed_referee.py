"""The referee of a robot alone: somebody at a terminal."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from robot.core.clock import Clock
from robot.core.messages import RefereeCode, RefereeCommand, Vec2


class Commands:
    """Commands by whoever types `start`, `stop` or `halt`. (The league's box comes later.)

    Args:
        clock: stamps them.
        stage: of the challenge.
        seed_in_field_m: what the team types in before stage 3: a place near the robot's, field frame.
        target_in_field_m: and where to drive.
    """

    WORDS = {"start": RefereeCode.FORCE_START, "stop": RefereeCode.STOP, "halt": RefereeCode.HALT}  # noqa: RUF012

    def __init__(
        self, clock: Clock, stage: int, seed_in_field_m: Vec2 | None = None, target_in_field_m: Vec2 | None = None
    ) -> None:
        self._clock, self._stage, self._seq = clock, stage, 0
        self._seed_in_field_m, self._target_in_field_m = seed_in_field_m, target_in_field_m
        self._waiting: deque[RefereeCommand] = deque()

    @property
    def spoken(self) -> bool:
        """True once any command was given."""
        return self._seq > 0

    def say(self, code: RefereeCode) -> None:
        """Give a command."""
        now_ns, told = self._clock.now_ns(), code is not RefereeCode.HALT
        self._waiting.append(
            RefereeCommand(
                seq=self._seq,
                t_capture_ns=now_ns,
                t_receive_ns=now_ns,
                valid=True,
                code=code,
                stage=self._stage,
                seed_in_field_m=self._seed_in_field_m if told else None,
                target_in_field_m=self._target_in_field_m if told else None,
            )
        )
        self._seq += 1

    def take(self) -> tuple[RefereeCommand, ...]:
        """Return the commands since the last call."""
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        return tuple(taken)

    def listen(
        self,
        lines: Iterator[str],
        *,
        said: Callable[[str], None] = lambda _: None,
        moving: Callable[[], bool] = lambda: False,
    ) -> None:
        """Follow typed words, in a thread that dies with the process; end of input is no command.

        Args:
            lines: what is typed; empty lines are no words.
            said: is told of each unknown word.
            moving: says whether the robot may be moving: then an unknown word is HALT. Whoever types something at a
                robot that drives wants it to stop, and has no time for spelling.
        """

        def follow() -> None:
            for line in lines:
                word = line.strip().lower()
                code = self.WORDS.get(word)
                if word and code is None:
                    said(f"unknown word {word!r}: start, stop or halt")
                    code = RefereeCode.HALT if moving() else None
                if code is not None:
                    self.say(code)

        threading.Thread(target=follow, name="referee", daemon=True).start()
