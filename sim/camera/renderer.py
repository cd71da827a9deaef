"""Renders the venue as an ideal pinhole camera sees it, and which object each pixel shows. MuJoCo's own renderer.

The frustum is set directly on the scene's camera, so the principal point and focal lengths mean what OpenCV means by
them: pixel centres are whole numbers, and the picture spans -0.5 to width - 0.5. (MuJoCo's `principalpixel` has the
opposite sign and counts from pixel corners.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot.core.body import RobotBody
from robot.core.field import BALL_RADIUS_M, FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import ObjectClass
from sim.camera.gl import import_mujoco, renderer_error
from sim.camera.scene import FAR_M, scene_xml
from sim.camera.style import VenueStyle

NEAR_M = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinhole:
    """An ideal camera in pixels, OpenCV's convention."""

    width_px: int
    height_px: int
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float

    def grown(self, margin_x_px: int, margin_y_px: int) -> Pinhole:
        """Return the same camera with a margin on each side."""
        return Pinhole(
            width_px=self.width_px + 2 * margin_x_px,
            height_px=self.height_px + 2 * margin_y_px,
            fx_px=self.fx_px,
            fy_px=self.fy_px,
            cx_px=self.cx_px + margin_x_px,
            cy_px=self.cy_px + margin_y_px,
        )


@dataclass(frozen=True, slots=True)
class RenderedObject:
    """One visible object of the scene in a label picture."""

    object_class: ObjectClass
    index: int
    body_id: int


class SceneRenderer:
    """One venue, one OpenGL context. Close it (or use `with`): contexts are scarce."""

    def __init__(
        self,
        style: VenueStyle,
        field: FieldGeometry,
        body: RobotBody,
        pinhole: Pinhole,
        *,
        robots: int = 0,
        balls: int = 1,
        samples: int = 4,
        shadows: bool = False,
        lookalikes: int = 0,
        golf_balls_outside: bool = True,
    ) -> None:
        """Build the model and open a context.

        Args:
            style: the venue's looks.
            field: dimensions of the field.
            body: outline of other robots.
            pinhole: the ideal camera to render.
            robots: number of other robots in the scene.
            balls: number of balls in the scene.
            samples: multi-sampling of the offscreen buffer: 0, 2 or 4.
            lookalikes: number of things outside the field that could be taken for a ball.
            golf_balls_outside: whether golf balls are among them.
            shadows: cast shadows with a shadow map (+22 ms a frame); the blobs under things are always there.

        Raises:
            SimulationError: no headless OpenGL context could be opened.
        """
        self._mujoco = mujoco = import_mujoco()
        text, files = scene_xml(
            style, field, body, robots=robots, balls=balls, lookalikes=lookalikes, golf_balls_outside=golf_balls_outside
        )
        self.model = mujoco.MjModel.from_xml_string(text, files)
        self.model.vis.quality.offsamples = samples
        self.model.vis.global_.offwidth, self.model.vis.global_.offheight = pinhole.width_px, pinhole.height_px
        self.data = mujoco.MjData(self.model)
        self.pinhole = pinhole
        try:
            self._renderer = mujoco.Renderer(self.model, pinhole.height_px, pinhole.width_px, max_geom=4000)
        except Exception as error:
            raise renderer_error(error) from error
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        self._camera = mujoco.MjvCamera()
        self.objects = self._find_objects(robots, balls)

    def _find_objects(self, robots: int, balls: int) -> tuple[RenderedObject, ...]:
        rows = [(ObjectClass.ROBOT, "robot", robots), (ObjectClass.BALL, "ball", balls), (ObjectClass.GOAL, "goal", 2)]
        found = []
        for kind, prefix, count in rows:
            for index in range(count):
                body_id = self._mujoco.mj_name2id(self.model, self._mujoco.mjtObj.mjOBJ_BODY, f"{prefix}{index}")
                if body_id >= 0:
                    found.append(RenderedObject(kind, index, body_id))
        return tuple(found)

    def place(self, robots: Sequence[Pose2], balls: Sequence[tuple[float, float, float]]) -> None:
        """Move robots and balls; those not named are put out of sight.

        Args:
            robots: poses in the field frame.
            balls: centres (x, y, z) in the field frame, metres.
        """
        for item in self.objects:
            if item.object_class is ObjectClass.GOAL:
                continue
            slot = int(self.model.body_mocapid[item.body_id])
            position, angle = (0.0, 0.0, -FAR_M), 0.0
            if item.object_class is ObjectClass.ROBOT and item.index < len(robots):
                pose = robots[item.index]
                position, angle = (pose.x_m, pose.y_m, 0.0), pose.theta_rad
            elif item.object_class is ObjectClass.BALL and item.index < len(balls):
                x, y, z = balls[item.index]
                position, angle = (x, y, z - BALL_RADIUS_M), 3.0 * (x + y)
            self.data.mocap_pos[slot] = position
            self.data.mocap_quat[slot] = (np.cos(0.5 * angle), 0.0, 0.0, np.sin(0.5 * angle))
        self._mujoco.mj_kinematics(self.model, self.data)

    def _look(self, world_from_camera: NDArray[np.float64]) -> None:
        """Aim: a (4, 4) transform of the OpenCV camera frame (x right, y down, z forward)."""
        scene, pin = self._renderer.scene, self.pinhole
        self._renderer.update_scene(self.data, self._camera)
        for eye in scene.camera:
            eye.pos = world_from_camera[:3, 3]
            eye.forward = world_from_camera[:3, 2]
            eye.up = -world_from_camera[:3, 1]
            eye.frustum_near, eye.frustum_far = NEAR_M, FAR_M
            eye.frustum_center = NEAR_M * (0.5 * (pin.width_px - 1.0) - pin.cx_px) / pin.fx_px
            eye.frustum_width = 0.5 * NEAR_M * pin.width_px / pin.fx_px
            eye.frustum_top = NEAR_M * (pin.cy_px + 0.5) / pin.fy_px
            eye.frustum_bottom = -NEAR_M * (pin.height_px - 0.5 - pin.cy_px) / pin.fy_px

    def render(self, world_from_camera: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the picture, (height, width, 3) RGB uint8."""
        self._look(world_from_camera)
        picture: NDArray[np.uint8] = self._renderer.render()
        return picture

    def segment(self, world_from_camera: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return for each pixel the index into `objects`, or -1; (height, width) int32, without multi-sampling."""
        self._renderer.enable_segmentation_rendering()
        self._look(world_from_camera)
        ids = self._renderer.render()[..., 0]
        self._renderer.disable_segmentation_rendering()
        table = np.full(self.model.ngeom + 1, -1, np.int32)
        for k, item in enumerate(self.objects):
            mine = self.model.geom_bodyid == item.body_id
            table[:-1][mine & (self.model.geom_rgba[:, 3] > 0.99)] = k
        indices: NDArray[np.int32] = table[ids]
        return indices

    def close(self) -> None:
        """Free the context."""
        self._renderer.close()

    def __enter__(self) -> SceneRenderer:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Free the context."""
        self.close()
