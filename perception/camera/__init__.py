"""The camera's geometry: intrinsics, mounting, pixel to field plane with covariance, calibration."""

from perception.camera.model import (
    CameraIntrinsics,
    CameraModel,
    CameraMounting,
    CameraNoise,
    ContactRule,
    GroundPoint,
    load_camera,
)

__all__ = [
    "CameraIntrinsics",
    "CameraModel",
    "CameraMounting",
    "CameraNoise",
    "ContactRule",
    "GroundPoint",
    "load_camera",
]
