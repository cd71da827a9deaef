/* Frama-C Eva: no run-time error in what a changed parameter does to the kinematics, whatever the values within the
 * schema's limits. */
#include "../core/blk_core.h"
#include "__fc_builtin.h"

static const blk_param_row_t table[BLK_PARAM_COUNT] = {BLK_PARAM_TABLE};

void blk_odometry_step(blk_core_t *core, const float *wheel_angle, float dt_s)
{
    (void)core;
    (void)wheel_angle;
    (void)dt_s;
}

int main(void)
{
    static blk_wheels_t wheels;
    float params[BLK_PARAM_COUNT];
    for (unsigned i = 0; i < BLK_PARAM_COUNT; i++) {
        params[i] = Frama_C_float_interval(table[i].minimum, table[i].maximum);
    }
    blk_wheels_configure(&wheels, params);
    return 0;
}
