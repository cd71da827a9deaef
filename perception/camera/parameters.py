"""What describes one camera, as plain numbers: lens, mounting, contact rule, noise, and how well they are known.

Each class is a section of a camera file (`robot/config/cameras/NAME.toml`). Axes and signs: `perception.camera.model`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from perception.camera.lens import Distortion
from robot.core.geometry import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraIntrinsics:
    """What belongs to lens and sensor: picture size, focal lengths, principal point (pixels), k1 k2 p1 p2 k3."""

    width_px: int
    height_px: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: Distortion = (0.0, 0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if min(self.width_px, self.height_px) < 1 or not (self.fx > 0.0 and self.fy > 0.0):
            raise ValueError("width_px, height_px, fx and fy must be positive")
        if not (0.0 < self.cx < self.width_px and 0.0 < self.cy < self.height_px):
            raise ValueError(f"cx and cy must lie in the picture, not at ({self.cx}, {self.cy})")


HEIGHT_LIMITS_M = (0.02, 2.0)
"""How high a camera can sit: millimetres, and a mounting that was never measured (0), lie outside."""

REACH_M = 0.5
"""A camera is not farther from the robot's centre than this, ahead and aside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraMounting:
    """Where the camera sits in the robot frame: metres from the centre on the floor, radians (see the module).

    Raises:
        ValueError: a value that no camera on a robot has; most often its unit is wrong.
    """

    x_m: float = 0.0
    y_m: float = 0.0
    height_m: float = 0.17
    pitch_rad: float = 0.0
    roll_rad: float = 0.0
    yaw_rad: float = 0.0

    def __post_init__(self) -> None:
        low, high = HEIGHT_LIMITS_M
        if not low <= self.height_m <= high:
            raise ValueError(f"height_m must be {low} to {high}, not {self.height_m}: is it in metres?")
        for name in ("x_m", "y_m"):
            if not abs(getattr(self, name)) < REACH_M:
                raise ValueError(f"{name} must be within {REACH_M}, not {getattr(self, name)}: is it in metres?")
        for name in ("pitch_rad", "roll_rad", "yaw_rad"):
            if not abs(getattr(self, name)) < math.pi / 2:
                value = getattr(self, name)
                raise ValueError(f"{name} must lie within a quarter turn, not {value}: is it in radians?")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContactRule:
    """Which point of a box is placed on the field, and how: shares of the box's height, counted up from its bottom.

    A ball is placed by the point `ball` up its box, on the plane as far up the ball (0.5: centre on centre). Boxes
    come larger than small balls, so the floor point itself is never seen well. `ball_bow_px` is the detector's habit
    to place rows higher or lower away from the picture's middle column: it is added to the row, times the squared
    column tangent ((u - cx) / fx). The four `small_...` are its habits with balls so small that their boxes are mostly
    margin: rows added by the box's own shape and column (see `perception.camera.observe.ball_row_slopes`). A robot
    stands `robot_depth_m` behind the foot of its front; a goal's mouth is placed by its box's foot.
    """

    ball: float = 0.5
    robot: float = 0.0
    goal: float = 0.05
    ball_bow_px: float = 0.0
    small_by_height_px: float = 0.0
    small_by_width_px: float = 0.0
    small_by_column_px: float = 0.0
    small_by_column_and_height_px: float = 0.0
    robot_depth_m: float = 0.089

    def __post_init__(self) -> None:
        for name in ("ball", "robot", "goal"):
            if not -1.0 <= getattr(self, name) <= 2.0:
                raise ValueError(f"{name} is a share of the box's height, 0 to 1, not {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraNoise:
    """One sigma of what disturbs a single frame: pixels, the mounting's shaking, and what calibration left unknown.

    `column_px` and `row_px` are the noise of a box point; `box_share` adds a share of the box's size to it, since
    big boxes are placed less exactly. Angles move all rays together, so their error grows with range squared.
    `position_m` is a floor that no range goes below.
    """

    column_px: float = 1.0
    row_px: float = 1.0
    box_share: float = 0.02
    pitch_rad: float = 0.001
    roll_rad: float = 0.001
    yaw_rad: float = 0.001
    height_m: float = 0.001
    position_m: float = 0.003

    def __post_init__(self) -> None:
        for item in fields(self):
            if not getattr(self, item.name) >= 0.0:
                raise ValueError(f"{item.name} is a standard deviation: not {getattr(self, item.name)}")


MOUNTING = ("x_m", "y_m", "height_m", "pitch_rad", "roll_rad", "yaw_rad")

BALL_ROWS = (
    "ball_bow_px",
    "small_by_height_px",
    "small_by_width_px",
    "small_by_column_px",
    "small_by_column_and_height_px",
)
"""What the contact rule adds to a ball's row, each times its slope (`perception.camera.observe.ball_row_slopes`)."""

CALIBRATED = (*MOUNTING, "ball", *BALL_ROWS)
"""The order of the rows of `CalibrationUncertainty.covariance`: six of the mounting, six of the contact rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationUncertainty:
    """How well a fit knows what it fitted: `covariance` (12, 12) over `CALIBRATED`, SI units and pixels.

    Empty for a camera that was not fitted: then the angles and height of `CameraNoise` stand for it. All frames share
    this error: no averaging over frames makes it smaller.

    Raises:
        ValueError: other rows, or numbers that are the covariance of nothing.
    """

    covariance: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        rows = len(CALIBRATED)
        if self.covariance and (len(self.covariance) != rows or any(len(row) != rows for row in self.covariance)):
            raise ValueError(
                f"covariance must have {rows} rows of {rows} numbers, or none; files that an earlier version fitted "
                "have fewer: run `blackout calibrate` again, or delete the line"
            )
        if self.covariance and not _is_covariance(np.array(self.covariance, dtype=float)):
            raise ValueError("covariance must be symmetric, without a negative variance in any direction")

    def with_mounting(self, names: Sequence[str], covariance: FloatArray) -> CalibrationUncertainty:
        """Return that of a camera of whose mounting `names` were fitted anew: the rest is known as well as before.

        Args:
            names: what was fitted of the mounting.
            covariance: of these, in their order.
        """
        size, rows = len(CALIBRATED), [MOUNTING.index(name) for name in names]
        full = np.array(self.covariance) if self.covariance else np.zeros((size, size))
        full[rows, :] = full[:, rows] = 0.0
        full[np.ix_(rows, rows)] = covariance
        return CalibrationUncertainty(covariance=tuple(tuple(row) for row in full.tolist()))


def _is_covariance(matrix: FloatArray) -> bool:
    """True for a symmetric matrix that is positive semi-definite, up to rounding; rows and units may differ in size."""
    scale = np.sqrt(np.maximum(matrix.diagonal(), 0.0))
    sizes = np.maximum(np.outer(scale, scale), 1e-300)
    off = (np.abs(matrix - matrix.T) > 1e-6 * sizes).any() or (np.abs(matrix) > (1.0 + 1e-6) * sizes).any()
    return not off and bool(np.linalg.eigvalsh(matrix / sizes).min() >= -1e-6)
