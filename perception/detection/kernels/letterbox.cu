/* Letterbox, BGR to RGB, 8-bit to float and rows of pixels to planes, in one pass: one thread per input pixel.
 *
 * picture: (picture_height, picture_width, 3) uint8, device address. input: (3, input_height, input_width) float32.
 * Launch with blocks of 32x8 threads; compile with -fmad=false (see letterbox_math.h). The argument list is also
 * written in perception/detection/backends/nvidia/gpu_letterbox.py (ARGUMENTS).
 */
#include "letterbox_math.h"

extern "C" __global__ void letterbox(const unsigned char *__restrict__ picture, float *__restrict__ input,
                                     int picture_width, int picture_height, int row_bytes, int resized_width,
                                     int resized_height, int offset_x, int offset_y, int input_width,
                                     int input_height, int pad_value) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= input_width || y >= input_height) return;
    const letterbox_placement at = {picture_width, picture_height, row_bytes,   resized_width, resized_height,
                                    offset_x,      offset_y,       input_width, input_height,  pad_value};
    const size_t plane = (size_t)input_width * input_height;
    float *out = input + (size_t)y * input_width + x;
    letterbox_pixel(picture, &at, x, y, out, out + plane, out + 2 * plane);
}
