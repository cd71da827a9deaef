/* The kernel's arithmetic on the processor, for the tests: same arguments as letterbox.cu, a loop instead of threads.
 *
 *     gcc -O2 -ffp-contract=off -shared -fPIC letterbox_host.c -o letterbox_host.so -lm
 */
#include "letterbox_math.h"

void letterbox(const unsigned char *picture, float *input, int picture_width, int picture_height, int row_bytes,
               int resized_width, int resized_height, int offset_x, int offset_y, int input_width, int input_height,
               int pad_value) {
    const letterbox_placement at = {picture_width, picture_height, row_bytes,   resized_width, resized_height,
                                    offset_x,      offset_y,       input_width, input_height,  pad_value};
    const size_t plane = (size_t)input_width * input_height;
    for (int y = 0; y < input_height; ++y)
        for (int x = 0; x < input_width; ++x) {
            float *out = input + (size_t)y * input_width + x;
            letterbox_pixel(picture, &at, x, y, out, out + plane, out + 2 * plane);
        }
}
