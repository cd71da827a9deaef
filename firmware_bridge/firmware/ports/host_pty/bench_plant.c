#include "bench_plant.h"

#define BATTERY_V 24.0
#define WHEEL_INERTIA_KG_M2 7.6e-4 /* a quarter of the robot's mass, seen at the wheel */
#define CHARGE_V_S 150.0
#define MOTOR_STALL_A 6.0

void bench_plant_step(bench_plant_t *bench, const float *params, const blk_actuators_t *in, double dt_s, blk_sensors_t *out)
{
    const double nominal = (double)params[BLK_PARAM_MOTOR_NOMINAL_V];
    const double stall = (double)params[BLK_PARAM_MOTOR_STALL_NM];
    const double no_load = (double)params[BLK_PARAM_MOTOR_NO_LOAD_RAD_S];
    double turn = 0.0, current_a = 0.0;
    for (int i = 0; i < BLK_WHEELS; i++) {
        const double torque = stall * ((double)in->wheel_duty[i] * BATTERY_V / nominal - bench->speed_rad_s[i] / no_load);
        bench->speed_rad_s[i] += torque / WHEEL_INERTIA_KG_M2 * dt_s;
        bench->wheel_rad[i] += bench->speed_rad_s[i] * dt_s;
        turn += bench->speed_rad_s[i];
        current_a += (double)in->wheel_duty[i] * torque / stall * MOTOR_STALL_A;
        const double ticks = bench->wheel_rad[i] * (double)params[BLK_PARAM_ENCODER_TICKS_PER_REV] / 6.283185307179586;
        out->wheel_ticks[i] = (int32_t)(ticks < 0.0 ? ticks - 0.5 : ticks + 0.5);
    }
    const double wheel_per_turn = (double)params[BLK_PARAM_WHEEL_MOUNT_RADIUS_M] / (double)params[BLK_PARAM_WHEEL_RADIUS_M];
    if (in->kick_speed_m_s > 0.0f) {
        bench->kicker_v *= 0.3;
    } else if (in->charge != 0u) {
        bench->kicker_v += CHARGE_V_S * dt_s;
    }
    const double dribbler_target = (double)in->dribbler_duty * (double)params[BLK_PARAM_DRIBBLER_MAX_RAD_S];
    bench->dribbler_rad_s += (dribbler_target - bench->dribbler_rad_s) * (dt_s < 0.05 ? dt_s / 0.05 : 1.0);
    out->gyro_z_rad_s = (float)(turn / BLK_WHEELS / wheel_per_turn);
    out->battery_v = (float)BATTERY_V;
    out->current_a = (float)(current_a > 0.0 ? current_a : 0.0);
    out->kicker_v = (float)bench->kicker_v;
    out->dribbler_rad_s = (float)bench->dribbler_rad_s;
}
