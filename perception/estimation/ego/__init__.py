"""The robot itself: odometry, its EKF, dead reckoning, corrections by goals and lines, how far to believe the pose."""
