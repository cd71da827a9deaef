"""The CUDA kernel that letterboxes on the GPU; compile it with `python -m perception.detection.kernels.build`."""
