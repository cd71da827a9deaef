"""What the GPU backends share: the GPU's facts, engine cache, builder, run time, kernels and ONNX Runtime's options.

TensorRT and pycuda are imported only inside functions: everything here loads on a machine without a GPU.
"""
