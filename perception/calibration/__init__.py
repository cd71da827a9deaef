"""Calibration of the camera: boards, balls, field points and lines; the check that says when it was bumped."""
