"""Beliefs into messages: what the world model says about robot, ball and objects."""

from __future__ import annotations

from collections.abc import Mapping

from perception.estimation.ego.dead_reckoning import RobotBelief
from perception.estimation.ego.ekf import POSE
from perception.estimation.tracks.ball import BallTracker
from perception.estimation.tracks.track import EgoPath
from perception.estimation.tracks.tracker import Tracker
from robot.core.geometry import FloatArray, Pose2, Twist2, rotate_covariance
from robot.core.messages import (
    BallState,
    Cov2,
    Localisation,
    ObjectClass,
    RobotState,
    TrackedObject,
    WorldModel,
)

_NO_COVARIANCE = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def nothing_yet(seq: int, t_ns: int) -> WorldModel:
    """Return the world model before the first telemetry: nothing in it is valid."""
    robot_state = RobotState(
        seq=seq,
        t_capture_ns=t_ns,
        t_receive_ns=t_ns,
        world_from_robot=Pose2(),
        twist_in_robot=Twist2(),
        covariance=_NO_COVARIANCE,
        localisation=Localisation.ODOMETRY,
    )
    ball_state = BallState(seq=seq, t_capture_ns=t_ns, t_receive_ns=t_ns)
    return WorldModel(seq=seq, t_capture_ns=t_ns, t_receive_ns=t_ns, robot=robot_state, ball=ball_state)


def robot(
    seq: int,
    t_ns: int,
    belief: RobotBelief,
    localisation: Localisation,
    mirror_ambiguous: bool,
    inputs_ok: bool,
    reset_count: int,
) -> RobotState:
    """Return the robot's state message."""
    p = belief.covariance[POSE, POSE].tolist()
    return RobotState(
        seq=seq,
        t_capture_ns=t_ns,
        t_receive_ns=t_ns,
        valid=True,
        world_from_robot=belief.world_from_robot,
        twist_in_robot=belief.twist,
        covariance=tuple(tuple(row) for row in p),
        localisation=localisation,
        mirror_ambiguous=mirror_ambiguous,
        odom_from_robot=belief.odom_from_robot,
        gyro_bias_rad_s=belief.gyro_bias_rad_s,
        tilt_rad=belief.tilt_rad,
        inputs_ok=inputs_ok,
        reset_count=reset_count,
    )


def ball(
    seq: int, t_ns: int, tracker: BallTracker, belief: RobotBelief, world_from_odom: Pose2, path: EgoPath
) -> BallState:
    """Return the ball's state message.

    Its covariance is that of the ball relative to the robot, in world axes: what docking and kicking need. The error
    of the robot's own pose on the field is in `RobotState.covariance`.
    """
    track = tracker.main()
    if track is None:
        return BallState(seq=seq, t_capture_ns=t_ns, t_receive_ns=t_ns, in_dribbler=tracker.in_dribbler)
    point = tracker.at(track, t_ns, belief.odom_from_robot, path)
    in_odom = (float(point.x[0]), float(point.x[1]))
    return BallState(
        seq=seq,
        t_capture_ns=t_ns,
        t_receive_ns=t_ns,
        valid=True,
        ball_in_world_m=world_from_odom.transform(in_odom),
        ball_in_robot_m=belief.odom_from_robot.inverse().transform(in_odom),
        velocity_in_world_m_s=world_from_odom.rotate((float(point.x[2]), float(point.x[3]))),
        covariance_m2=_covariance(tracker.covariance_m2(track, point), world_from_odom),
        velocity_covariance_m2_s2=_covariance(point.P[2:, 2:], world_from_odom),
        age_ns=track.age_ns(t_ns),
        visible=track.visible,
        in_dribbler=tracker.in_dribbler,
        sightings=track.sightings,
        track_id=track.track_id,
    )


def objects(
    trackers: Mapping[ObjectClass, Tracker], t_ns: int, world_from_odom: Pose2, path: EgoPath
) -> tuple[TrackedObject, ...]:
    """Return the confirmed tracks of robots and goals; ids are unique within a class."""
    shown = []
    for object_class, tracker in trackers.items():
        if object_class is ObjectClass.BALL:
            continue
        for track in tracker.tracks:
            if not track.confirmed:
                continue
            point = tracker.look_ahead(track, t_ns, path)
            shown.append(
                TrackedObject(
                    track_id=track.track_id,
                    object_class=object_class,
                    position_in_world_m=world_from_odom.transform((float(point.x[0]), float(point.x[1]))),
                    covariance_m2=_covariance(tracker.covariance_m2(track, point), world_from_odom),
                    age_ns=track.age_ns(t_ns),
                    sightings=track.sightings,
                    velocity_in_world_m_s=world_from_odom.rotate((float(point.x[2]), float(point.x[3]))),
                    velocity_covariance_m2_s2=_covariance(point.P[2:, 2:], world_from_odom),
                    visible=track.visible,
                )
            )
    return tuple(shown)


def _covariance(p: FloatArray, world_from_odom: Pose2) -> Cov2:
    (a, b), (c, d) = rotate_covariance(p, world_from_odom.theta_rad).tolist()
    return ((a, b), (c, d))
