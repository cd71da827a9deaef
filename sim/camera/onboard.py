"""The camera on our robot during a trial: takes pictures at exact times, delivers them late, loses some."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.messages import CameraFrame
from sim.camera.dataset import world_from_optical
from sim.camera.imaging import ImagePipeline, sample_sensor_style
from sim.camera.renderer import SceneRenderer
from sim.camera.shutter import CameraMotion, ShutterWarp
from sim.camera.style import sample_venue_style
from sim.setup import CameraErrors, Source, TrialSetup, generator
from sim.world.world import World

_MS_NS = 1_000_000
_FASTEST_ARRIVAL_NS = 500_000
_SETTINGS_SPREAD = 0.5
"""Before a match somebody adjusts the camera; training pictures are drawn twice as wide."""


@dataclass(frozen=True, slots=True)
class _Pending:
    t_receive_ns: int
    frame: CameraFrame


def true_camera(camera: CameraModel, error: CameraErrors) -> CameraModel:
    """Return the camera as it really is: the calibrated one with its errors."""
    mounting, lens = camera.mounting, camera.intrinsics.distortion
    return replace(
        camera,
        intrinsics=replace(camera.intrinsics, distortion=(lens[0] + error.k1, *lens[1:])),
        mounting=replace(
            mounting,
            pitch_rad=mounting.pitch_rad + error.pitch_rad,
            roll_rad=mounting.roll_rad + error.roll_rad,
            yaw_rad=mounting.yaw_rad + error.yaw_rad,
            height_m=mounting.height_m + error.height_m,
        ),
    )


class OnboardCamera:
    """Renders what the robot sees. Reads the world; nothing of the world leaves it but pixels."""

    def __init__(self, setup: TrialSetup, body: RobotBody, camera: CameraModel, *, samples: int = 4) -> None:
        """Build the venue and open the renderer.

        Args:
            setup: the trial.
            body: outline of robots.
            camera: its calibration; the real one differs by `setup.camera`.
            samples: multi-sampling of the renderer.

        Raises:
            SimulationError: no headless renderer.
        """
        self._timing = setup.frames
        venue = generator(setup.seed, Source.VENUE)
        self.true_camera = true_camera(camera, setup.camera)
        self._warp = ShutterWarp(self.true_camera)
        self.style = sample_venue_style(venue)
        self.sensor = sample_sensor_style(venue, spread=_SETTINGS_SPREAD)
        k = camera.intrinsics
        self._pipeline = ImagePipeline(self.sensor, (k.width_px, k.height_px), generator(setup.seed, Source.PICTURE))
        self._timing_rng = generator(setup.seed, Source.FRAME_TIMING)
        self._renderer = SceneRenderer(
            self.style,
            setup.field,
            body,
            self._warp.pinhole,
            robots=len(setup.scene.others),
            balls=1,
            samples=samples,
            lookalikes=setup.scene.lookalikes,
        )
        self._ball_in_play = setup.scene.ball_in_play
        self._count = 0
        self._last_arrival_ns = 0
        self._pending: deque[_Pending] = deque()
        self.dropped = 0
        self.next_capture_ns = self._capture_time_ns(0)

    def knock(self, *, pitch_rad: float = 0.0, roll_rad: float = 0.0, yaw_rad: float = 0.0) -> None:
        """Turn the camera on its mast, from the next picture on: somebody or something has hit it."""
        mounting = self.true_camera.mounting
        self.true_camera = replace(
            self.true_camera,
            mounting=replace(
                mounting,
                pitch_rad=mounting.pitch_rad + pitch_rad,
                roll_rad=mounting.roll_rad + roll_rad,
                yaw_rad=mounting.yaw_rad + yaw_rad,
            ),
        )
        self._warp = ShutterWarp(self.true_camera)

    def _capture_time_ns(self, index: int) -> int:
        """Return mid-exposure of picture `index`, on the grid of physics steps."""
        seconds = self._timing.phase_s + 0.5 * self.sensor.exposure_s + index / self._timing.rate_hz
        return max(1, round(seconds * 1000.0)) * _MS_NS

    def capture(self, world: World, t_ns: int) -> None:
        """Take the picture whose mid-exposure is now."""
        timing, sensor = self._timing, self.sensor
        lost = bool(self._timing_rng.random() < timing.drop_probability)
        jitter_s = timing.latency_jitter_s * abs(float(self._timing_rng.standard_normal()))
        index = self._count
        self._count += 1
        self.next_capture_ns = self._capture_time_ns(self._count)
        if lost:
            self.dropped += 1
            return
        ready_s = 0.5 * sensor.exposure_s + 0.5 * sensor.readout_s + timing.latency_s + jitter_s
        arrival = max(t_ns + round(ready_s * NS_PER_S), self._last_arrival_ns + _FASTEST_ARRIVAL_NS)
        self._last_arrival_ns = arrival
        picture = self._picture(world)
        frame = CameraFrame(seq=index, t_capture_ns=t_ns, t_receive_ns=arrival, valid=True, image_bgr=picture)
        self._pending.append(_Pending(arrival, frame))

    def _picture(self, world: World) -> NDArray[Any]:
        motion = CameraMotion(
            twist_in_robot=world.twist_in_robot,
            pitch_rate_rad_s=world.nod.pitch_rate_rad_s,
            roll_rate_rad_s=world.nod.roll_rate_rad_s,
        )
        twist = motion.twist_in_robot
        still = twist.speed_m_s() < 0.002 and abs(twist.omega_rad_s) < 0.002
        still = still and math.hypot(motion.pitch_rate_rad_s, motion.roll_rate_rad_s) < 0.002
        self._renderer.place(world.others, (world.ball_m,) if self._ball_in_play else ())
        render = self._renderer.render(world_from_optical(self.true_camera, world.robot_pose, world.tilt_rad))
        exposed = self._warp.expose(
            render,
            CameraMotion() if still else motion,
            exposure_s=self.sensor.exposure_s,
            readout_s=self.sensor.readout_s,
            tilt_rad=world.tilt_rad,
        )
        jpeg = self._pipeline.develop(cv2.cvtColor(exposed, cv2.COLOR_RGB2BGR))
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None  # it was encoded a line ago
        picture.flags.writeable = False
        return picture

    def arrived(self, now_ns: int) -> list[CameraFrame]:
        """Return the frames that arrived since the last call, oldest first."""
        frames = []
        while self._pending and self._pending[0].t_receive_ns <= now_ns:
            frames.append(self._pending.popleft().frame)
        return frames

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()
