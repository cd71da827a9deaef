"""Frame sources: a V4L2 camera, a video file, a folder of pictures; each stamps the physical capture time."""
