"""The camera's geometry: intrinsics, mounting, pixel to field plane with covariance, calibration."""

from perception.camera.model import CameraModel, GroundPoint, load_camera
from perception.camera.parameters import (
    CalibrationUncertainty,
    CameraIntrinsics,
    CameraMounting,
    CameraNoise,
    ContactRule,
)

__all__ = [
    "CalibrationUncertainty",
    "CameraIntrinsics",
    "CameraModel",
    "CameraMounting",
    "CameraNoise",
    "ContactRule",
    "GroundPoint",
    "load_camera",
]
