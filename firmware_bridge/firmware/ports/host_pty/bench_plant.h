/* A robot on a bench, just good enough to answer: wheels with motors, a gyro, a charging kicker, a dribbler. */
#ifndef BENCH_PLANT_H
#define BENCH_PLANT_H

#include "../../core/blk_core.h"

typedef struct {
    double wheel_rad[BLK_WHEELS], speed_rad_s[BLK_WHEELS], kicker_v, dribbler_rad_s;
} bench_plant_t;

/* Moves the bench by dt_s under these actuator values and reads its sensors. */
void bench_plant_step(bench_plant_t *bench, const float *params, const blk_actuators_t *in, double dt_s, blk_sensors_t *out);

#endif
