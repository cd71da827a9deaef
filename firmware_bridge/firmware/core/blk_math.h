/* Small arithmetic with the same bits on every target: no libm, whose last bits differ between C libraries. */
#ifndef BLK_MATH_H
#define BLK_MATH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BLK_PI 3.14159265358979f
#define BLK_TAU 6.28318530717959f

static inline float blk_clamp(float value, float low, float high)
{
    return value >= low ? (value <= high ? value : high) : low; /* not a number: low */
}

static inline float blk_abs(float value)
{
    return value < 0.0f ? -value : value;
}

static inline float blk_min(float a, float b)
{
    return a < b ? a : b;
}

/* Exponent bits tell: works with any compiler flag. */
static inline bool blk_finite(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7F800000u) != 0x7F800000u;
}

static inline float blk_sqrt(float value)
{
    return value > 0.0f ? __builtin_sqrtf(value) : 0.0f; /* one instruction, correctly rounded (-fno-math-errno) */
}

/* Any angle within a few turns into [-pi, pi]. */
static inline float blk_wrap(float angle)
{
    while (angle > BLK_PI) {
        angle -= BLK_TAU;
    }
    while (angle < -BLK_PI) {
        angle += BLK_TAU;
    }
    return angle;
}

/* Taylor to x^11 on [-pi/2, pi/2]: error below 6e-8. */
static inline float blk_sin(float angle)
{
    float x = blk_wrap(angle);
    if (x > 0.5f * BLK_PI) {
        x = BLK_PI - x;
    } else if (x < -0.5f * BLK_PI) {
        x = -BLK_PI - x;
    }
    const float s = x * x;
    return x * (1.0f + s * (-1.6666667e-1f + s * (8.3333333e-3f + s * (-1.9841270e-4f + s * (2.7557319e-6f - s * 2.5052108e-8f)))));
}

static inline float blk_cos(float angle)
{
    return blk_sin(blk_wrap(angle) + 0.5f * BLK_PI);
}

#endif
