/* Where the body went: displacement from the wheels, heading from the gyro with its bias measured at a stand. */
#include "blk_core.h"
#include "blk_math.h"

#define STILL_NEEDED_S 0.25f
#define BIAS_LIMIT_RAD_S 0.2f
#define BIAS_ENOUGH 100.0f
#define BIAS_MEMORY 2000.0f

void blk_odometry_step(blk_core_t *core, const float *wheel_angle, float dt_s)
{
    blk_odometry_t *o = &core->odometry;
    float delta[3] = {0.0f, 0.0f, 0.0f};
    bool moved = false;
    for (int i = 0; i < BLK_WHEELS; i++) {
        o->period_angle[i] += wheel_angle[i];
        moved = moved || wheel_angle[i] < 0.0f || wheel_angle[i] > 0.0f;
        for (int j = 0; j < 3; j++) {
            delta[j] += core->wheels.twist_from_wheels[j][i] * wheel_angle[i];
        }
    }
    for (int j = 0; j < 3; j++) {
        o->period_delta[j] += delta[j];
    }
    o->period_s += dt_s;

    /* Stopped, not a tick for a quarter of a second, and a rate that could be bias: then it is bias. */
    const float gyro = core->sensors.gyro_z_rad_s;
    const bool still = !moved && core->state == BLK_STOPPED && blk_abs(gyro) < BIAS_LIMIT_RAD_S;
    o->still_s = still ? o->still_s + dt_s : 0.0f;
    if (o->still_s > STILL_NEEDED_S) {
        o->bias_samples = blk_min(o->bias_samples + 1.0f, BIAS_MEMORY); /* a mean, then a slow average */
        o->gyro_bias_rad_s += (gyro - o->gyro_bias_rad_s) / o->bias_samples;
        o->gyro_calibrated = o->gyro_calibrated || o->bias_samples >= BIAS_ENOUGH;
    }

    const float turn = (gyro - o->gyro_bias_rad_s) * dt_s;
    const float middle = (float)o->theta_rad + 0.5f * turn;
    const float s = blk_sin(middle), c = blk_cos(middle);
    o->x_m += (double)(c * delta[0] - s * delta[1]); /* double: a minute of small steps must not round away */
    o->y_m += (double)(s * delta[0] + c * delta[1]);
    o->theta_rad += (double)turn;
    if (o->theta_rad > (double)BLK_PI) {
        o->theta_rad -= (double)BLK_TAU;
    } else if (o->theta_rad < -(double)BLK_PI) {
        o->theta_rad += (double)BLK_TAU;
    }
}
