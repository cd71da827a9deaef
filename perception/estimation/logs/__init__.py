"""Recorded runs: reading them, playing the estimator over them, judging it, fitting a robot to them."""
