"""The estimator's small world with field lines in its pictures, seen by a camera that stands a bit off."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from perception.camera.model import CameraModel
from perception.estimation.config import EstimationConfig, TiltConfig
from perception.field.model import field_model
from perception.localisation.config import MarkingConfig
from robot.core.geometry import Pose2, rotation, wrap_angle
from robot.core.messages import Detection, Localisation, ObjectClass, RobotState, Vec2
from tests.estimation_world import CAMERA, FIELD, LATENCY_STEPS, World, frame, goal_box

MARKINGS = field_model(FIELD).sample(0.04)[0]
OFF = replace(CAMERA, mounting=replace(CAMERA.mounting, pitch_rad=CAMERA.mounting.pitch_rad + math.radians(0.3)))
"""What the camera really is: it looks 0.3 degrees lower than calibration says."""

NO_SHUTTER = EstimationConfig(markings=MarkingConfig(readout_s=0.0), tilt=TiltConfig(angle_per_accel_rad_s2_m=0.0))
"""All rows of these pictures are taken at once, and the body does not nod."""


@dataclass
class LineWorld(World):
    """Shows lines and goals in its pictures, and lets the estimator search once a control tick.

    `true_camera` takes the pictures; `line_noise_px` is a point's noise; `false_share` of the points lie anywhere.
    """

    config: EstimationConfig = NO_SHUTTER
    true_camera: CameraModel = OFF
    line_noise_px: float = 0.6
    false_share: float = 0.05
    goals: bool = True

    def tick(self, *args: object, **kwargs: object) -> None:
        """One telemetry period, and a slice of the search at 100 Hz."""
        super().tick(*args, **kwargs)  # type: ignore[arg-type]
        if self.step % 2 == 0:
            self.estimator.locate()

    def carry_to(self, pose: Pose2) -> None:
        """A hand puts the robot elsewhere."""
        self.pose = pose

    def line_points(self) -> tuple[Vec2, ...]:
        """At most sixty points of lines as the picture shows them now."""
        places = (MARKINGS - (self.pose.x_m, self.pose.y_m)) @ rotation(self.pose.theta_rad)
        near = places[(places[:, 0] > 0.2) & (np.hypot(*places.T) < 3.5)]
        pixels = self.true_camera.project(np.column_stack((near, np.zeros(len(near)))))
        pixels = pixels[np.isfinite(pixels).all(axis=1)]
        pixels = pixels[((pixels > 4) & (pixels < (635, 475))).all(axis=1)]
        pixels = pixels[:: max(1, math.ceil(len(pixels) / 60))]
        pixels = pixels + self.rng.normal(0.0, self.line_noise_px, pixels.shape)
        wrong = self.rng.random(len(pixels)) < self.false_share
        pixels[wrong] = self.rng.uniform((10, 80), (630, 470), (int(wrong.sum()), 2))
        return tuple((float(u), float(v)) for u, v in pixels)

    def error(self, *, twin: bool = False) -> tuple[float, float]:
        """Distance (m) and turn (rad) between belief and truth, or the truth's mirror twin."""
        truth = Pose2(-self.pose.x_m, -self.pose.y_m, self.pose.theta_rad + math.pi) if twin else self.pose
        belief = self.state().world_from_robot
        return belief.distance_to(truth), abs(wrap_angle(belief.theta_rad - truth.theta_rad))

    def knows(self, *, within_m: float = 0.1, within_rad: float = math.radians(3.0)) -> bool:
        """The pose is claimed, and right: up to the twin where that is declared."""
        state = self.state()
        errors = [self.error()] + ([self.error(twin=True)] if state.mirror_ambiguous else [])
        return state.localisation is Localisation.TRACKING and any(m < within_m and r < within_rad for m, r in errors)

    def state(self) -> RobotState:
        """The robot's state now."""
        return self.world().robot

    def _take_frame(self) -> None:
        detections = []
        for side in (1, -1):
            box = goal_box(self.pose, side) if self.goals else None
            if box is not None:
                detections.append(Detection(object_class=ObjectClass.GOAL, score=0.9, box_px=box))
        points = () if self.blind else self.line_points()
        batch = frame(self.step, self.t_ns, line_points_px=points, detections=tuple(detections))
        self.pending.append((self.step + LATENCY_STEPS, batch, ()))
