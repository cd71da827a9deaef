"""The eye: an SSD that finds robots, balls and goals in a camera picture.

`load_detector(DetectionConfig())` is the door; `Detector` is what the rest of the project asks for.
"""

from perception.detection.config import DetectionConfig
from perception.detection.detector import Detector, SsdDetector, StageTimings, load_detector

__all__ = ["DetectionConfig", "Detector", "SsdDetector", "StageTimings", "load_detector"]
