/* The letterbox's arithmetic for one pixel of the network's input; the same text runs on the GPU (letterbox.cu) and, in
 * the tests, on the processor (letterbox_host.c), where it is compared with perception/detection/letterbox.py.
 *
 * The interpolation is in whole numbers; the few steps in float32 are correctly rounded on both sides as long as the
 * compilers fuse no multiplications with additions (-fmad=false, -ffp-contract=off): then the two give the same bits.
 */
#ifndef BLACKOUT_LETTERBOX_MATH_H
#define BLACKOUT_LETTERBOX_MATH_H

#ifdef __CUDACC__
#define LETTERBOX_FUNCTION static __device__ __forceinline__
#else
#include <math.h>
#include <stddef.h>
#define LETTERBOX_FUNCTION static inline
#endif

/* Where the picture lies in the input; the fields of perception.detection.letterbox.Placement. */
typedef struct {
    int picture_width, picture_height; /* px */
    int row_bytes;                     /* from one picture row to the next */
    int resized_width, resized_height; /* px of the input that the picture covers */
    int offset_x, offset_y;            /* px, its corner in the input */
    int input_width, input_height;     /* px */
    int pad_value;                     /* grey level of the borders */
} letterbox_placement;

/* One axis of the interpolation: two neighbours and their weights in 2048ths. */
typedef struct {
    int first, second;
    int first_weight, second_weight;
} letterbox_tap;

LETTERBOX_FUNCTION int letterbox_clamp(int value, int size) { return value < 0 ? 0 : (value >= size ? size - 1 : value); }

/* Pixel centres lie at half numbers: source = (pixel + 1/2) * picture / resized - 1/2, written as one division of whole
 * numbers below 2^24, so that it is rounded once.
 */
LETTERBOX_FUNCTION letterbox_tap letterbox_axis(int pixel, int picture_size, int resized_size) {
    const float source =
        (float)((2 * pixel + 1) * picture_size - resized_size) / (float)(2 * resized_size);
    const float whole = floorf(source);
    const float fraction = source - whole;
    letterbox_tap tap;
    tap.first = letterbox_clamp((int)whole, picture_size);
    tap.second = letterbox_clamp((int)whole + 1, picture_size);
    tap.first_weight = (int)rintf((1.0f - fraction) * 2048.0f);
    tap.second_weight = (int)rintf(fraction * 2048.0f);
    return tap;
}

/* Write the red, green and blue input values, each in [-1, 1], of input pixel (x, y).
 *
 * Bilinear with edges repeated, in OpenCV's own 8-bit fixed point (imgproc/resize.cpp, INTER_LINEAR: 11-bit weights,
 * products cut to 16 bits, then rounded): the network sees the grey levels it was trained on. Then v / 127.5 - 1.
 */
LETTERBOX_FUNCTION void letterbox_pixel(const unsigned char *picture, const letterbox_placement *at, int x, int y,
                                        float *red, float *green, float *blue) {
    const int px = x - at->offset_x, py = y - at->offset_y;
    int level[3];
    if (px < 0 || py < 0 || px >= at->resized_width || py >= at->resized_height) {
        level[0] = level[1] = level[2] = at->pad_value;
    } else {
        const letterbox_tap across = letterbox_axis(px, at->picture_width, at->resized_width);
        const letterbox_tap down = letterbox_axis(py, at->picture_height, at->resized_height);
        const unsigned char *upper = picture + (size_t)down.first * at->row_bytes;
        const unsigned char *lower = picture + (size_t)down.second * at->row_bytes;
        for (int k = 0; k < 3; ++k) {
            const int a = upper[3 * across.first + k] * across.first_weight +
                          upper[3 * across.second + k] * across.second_weight;
            const int b = lower[3 * across.first + k] * across.first_weight +
                          lower[3 * across.second + k] * across.second_weight;
            const int sum = ((down.first_weight * (a >> 4)) >> 16) + ((down.second_weight * (b >> 4)) >> 16);
            level[k] = (sum + 2) >> 2;
        }
    }
    *red = (float)level[2] / 127.5f - 1.0f; /* the picture is blue, green, red */
    *green = (float)level[1] / 127.5f - 1.0f;
    *blue = (float)level[0] / 127.5f - 1.0f;
}

#endif
