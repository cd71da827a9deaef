"""The player: referee, mode and stage decide which play runs; the play decides what the robot does."""

from __future__ import annotations

from dataclasses import dataclass

import control.plays
import control.skills  # noqa: F401 - importing the packages registers their files
from control.config import ControlConfig
from control.motion.bump import BumpDetector
from control.planning.frames import in_odometry
from control.planning.memory import FieldMemory
from control.plays.play import PLAYS, Play
from control.skills.skill import Notes, View
from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from robot.core.messages import Mode, MotionTarget, Plan, RefereeCode, RefereeCommand, TeamMessage, WorldModel

NO_PLAY = "wait"


@dataclass(frozen=True, slots=True)
class Decision:
    """What one tick decided: for the log, for the limiter, and for the other robots."""

    plan: Plan
    target: MotionTarget
    team_out: tuple[TeamMessage, ...] = ()


class Player:
    """Decides once per tick. Deterministic: its output depends on the sequence of inputs alone.

    The robot moves only after FORCE_START, in a mode that allows it, with a valid robot state. Each FORCE_START
    (a command with another `seq`) begins a new trial with an empty memory.

    Args:
        config: the control room's configuration.
        body: the robot.
        field: used where the robot knows its place on it.
    """

    def __init__(self, config: ControlConfig, body: RobotBody, field: FieldGeometry) -> None:
        self._config = config
        self._body = body
        self._field = field
        self._play: Play | None = None
        self._memory = FieldMemory(config.search)
        self._notes = Notes()
        self._started: RefereeCommand | None = None
        self._bumps = BumpDetector(config.motion.bump_accel_m_s2)
        self._seq = 0

    def decide(
        self,
        world: WorldModel,
        referee: RefereeCommand | None,
        team: tuple[TeamMessage, ...],
        mode: Mode,
        t_now_ns: int,
    ) -> Decision:
        """Return the plan and motion target of this tick.

        Args:
            world: the estimator's belief, predicted to now.
            referee: the last command heard, or None before the first.
            team: radio messages that arrived in this tick.
            mode: the supervisor's verdict; ACTIVE plays, DEGRADED plays on slowly, all others stand.
            t_now_ns: time of this tick.
        """
        self._seq += 1
        self._follow(referee)
        if self._play is None or not self._play.on_field:
            world = in_odometry(world)
        share = self._config.play.degraded_speed_share if mode is Mode.DEGRADED else 1.0
        bump = self._bumps.normal_in_robot(world.telemetry, world.robot.twist_in_robot)
        view = View(
            world=world,
            t_now_ns=t_now_ns,
            seq=self._seq - 1,
            config=self._config,
            body=self._body,
            field=self._field,
            memory=self._memory,
            notes=self._notes,
            bump_normal=world.robot.world_from_robot.rotate(bump) if bump is not None else None,
            speed_share=share,
        )
        why = self._why_stand(world, referee, mode)
        if why or self._play is None:
            return self._decision(view, NO_PLAY, "stop", why or "no play", view.stop())
        self._memory.update(world, t_now_ns)
        skill, step = self._play.decide(view, team)
        return self._decision(view, skill, step.state, step.reason, step.target)

    def _follow(self, referee: RefereeCommand | None) -> None:
        """Begin a trial at a new FORCE_START; drop the play at any other command."""
        if referee is None or referee.code is not RefereeCode.FORCE_START:
            self._play, self._started = None, None
            return
        if self._started is not None and self._started.seq == referee.seq:
            return
        self._started = referee
        self._memory = FieldMemory(self._config.search)
        self._notes = Notes(target_in_field_m=referee.target_in_field_m)
        name = f"stage{referee.stage}"
        self._play = PLAYS.create(name) if name in PLAYS else None

    def _why_stand(self, world: WorldModel, referee: RefereeCommand | None, mode: Mode) -> str:
        """Return why the robot must not move now, or an empty text."""
        if referee is None:
            return "no referee command yet"
        if referee.code is not RefereeCode.FORCE_START:
            return f"referee: {referee.code.value}"
        if mode not in (Mode.ACTIVE, Mode.DEGRADED):
            return f"mode: {mode.value}"
        if self._play is None:
            return f"no play for stage {referee.stage}"
        if not world.robot.valid or not world.robot.world_from_robot.is_finite():
            return "no robot state"
        return ""

    def _decision(self, view: View, skill: str, state: str, reason: str, target: MotionTarget) -> Decision:
        plan = Plan(
            seq=view.seq,
            t_capture_ns=view.t_now_ns,
            t_receive_ns=view.t_now_ns,
            valid=True,
            play=self._play.name if self._play is not None else NO_PLAY,
            skill=skill,
            state=state,
            reason=reason,
        )
        return Decision(plan=plan, target=target)
