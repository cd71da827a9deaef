/* Omni kinematics, encoder tracking, twist ramp, PI wheel control with feed-forward. */
#include "blk_core.h"
#include "blk_math.h"

#define LEAD_M_S 0.4f
#define LEAD_RAD_S 5.0f

/* Rows as in RobotBody: the rim at angle a moves along (-sin a, cos a); positive speed turns the body to the left. */
void blk_wheels_configure(blk_wheels_t *wheels, const float *params)
{
    const float radius = params[BLK_PARAM_WHEEL_RADIUS_M];
    float normal[3][3] = {{0.0f}};
    for (int i = 0; i < BLK_WHEELS; i++) {
        const float angle = params[BLK_PARAM_WHEEL_ANGLE_0_RAD + (unsigned)i];
        float *row = wheels->wheels_from_twist[i];
        row[0] = -blk_sin(angle) / radius;
        row[1] = blk_cos(angle) / radius;
        row[2] = params[BLK_PARAM_WHEEL_MOUNT_RADIUS_M] / radius;
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 3; k++) {
                normal[j][k] += row[j] * row[k];
            }
        }
    }
    float adjugate[3][3];
    for (int j = 0; j < 3; j++) {
        for (int k = 0; k < 3; k++) {
            const int a = (j + 1) % 3, b = (j + 2) % 3, c = (k + 1) % 3, d = (k + 2) % 3;
            adjugate[k][j] = normal[a][c] * normal[b][d] - normal[a][d] * normal[b][c];
        }
    }
    const float determinant = normal[0][0] * adjugate[0][0] + normal[0][1] * adjugate[1][0] + normal[0][2] * adjugate[2][0];
    const float scale = normal[0][0] * normal[1][1] * normal[2][2];
    for (int j = 0; j < 3; j++) {
        for (int i = 0; i < BLK_WHEELS; i++) {
            float sum = 0.0f;
            for (int k = 0; k < 3; k++) {
                sum += adjugate[j][k] * wheels->wheels_from_twist[i][k];
            }
            /* A geometry that cannot steer (half set from the host) gives no motion instead of nonsense. */
            wheels->twist_from_wheels[j][i] = determinant > 1e-6f * scale ? sum / determinant : 0.0f;
        }
    }
}

/* Encoder counts to wheel angles and smooth speeds; false (and no motion) when a jump is not physical.
 * The tracking loop (a PLL) is what turns 2048 counts a turn, 3 rad/s per count and millisecond, into a usable speed. */
bool blk_wheels_measure(blk_core_t *core, const int32_t *ticks, float dt_s)
{
    blk_wheels_t *w = &core->wheels;
    const float rad_per_tick = BLK_TAU / core->params[BLK_PARAM_ENCODER_TICKS_PER_REV];
    const float fastest = 3.0f * core->params[BLK_PARAM_MOTOR_NO_LOAD_RAD_S] * dt_s + 2.0f * rad_per_tick;
    const float band = blk_min(core->params[BLK_PARAM_ENCODER_BANDWIDTH_RAD_S], 0.6f / dt_s);
    float angle[BLK_WHEELS];
    bool good = true;
    for (int i = 0; i < BLK_WHEELS; i++) {
        const int32_t delta = (int32_t)((uint32_t)ticks[i] - (uint32_t)w->last_ticks[i]);
        angle[i] = w->ticks_known ? (float)delta * rad_per_tick : 0.0f;
        w->last_ticks[i] = ticks[i];
        if (blk_abs(angle[i]) > fastest) {
            angle[i] = 0.0f;
            good = false;
        }
    }
    w->ticks_known = true;
    for (int i = 0; i < BLK_WHEELS; i++) {
        w->angle_error_rad[i] += angle[i] - w->speed_rad_s[i] * dt_s;
        const float error = w->angle_error_rad[i];
        w->angle_error_rad[i] -= 2.0f * band * dt_s * error;
        w->speed_rad_s[i] += band * band * dt_s * error;
    }
    blk_odometry_step(core, angle, dt_s);
    return good;
}

static float supply_factor(const blk_core_t *core)
{
    return core->params[BLK_PARAM_MOTOR_NOMINAL_V] / (core->battery_v > 5.0f ? core->battery_v : 5.0f);
}

static float torque_limit(const blk_core_t *core)
{
    return core->params[BLK_PARAM_TORQUE_LIMIT] * core->current_share;
}

/* Wheel torques that accelerate the body so: the transpose of the inverse kinematics. */
static void wheel_torques(const blk_core_t *core, const float accel[3], float torque[BLK_WHEELS])
{
    const float *p = core->params;
    const float load[3] = {p[BLK_PARAM_MASS_KG] * accel[0], p[BLK_PARAM_MASS_KG] * accel[1],
                           p[BLK_PARAM_YAW_INERTIA_KG_M2] * accel[2]};
    for (int i = 0; i < BLK_WHEELS; i++) {
        torque[i] = 0.0f;
        for (int j = 0; j < 3; j++) {
            torque[i] += core->wheels.twist_from_wheels[j][i] * load[j];
        }
    }
}

static void wheel_speeds(const blk_wheels_t *wheels, const float twist[3], float speed[BLK_WHEELS])
{
    for (int i = 0; i < BLK_WHEELS; i++) {
        speed[i] = 0.0f;
        for (int j = 0; j < 3; j++) {
            speed[i] += wheels->wheels_from_twist[i][j] * twist[j];
        }
    }
}

/* The share of this acceleration that every motor can give at the reference speed, some voltage kept for feedback.
 * Without it the reference runs ahead of a saturated wheel, and the integrators overshoot. */
static float feasible_share(const blk_core_t *core, const float accel[3])
{
    float speed[BLK_WHEELS], torque[BLK_WHEELS];
    float share = 1.0f;
    const float supply = supply_factor(core);
    wheel_speeds(&core->wheels, core->wheels.reference, speed);
    wheel_torques(core, accel, torque);
    for (int i = 0; i < BLK_WHEELS; i++) {
        const float hold = speed[i] / core->params[BLK_PARAM_MOTOR_NO_LOAD_RAD_S] * supply;
        const float push = torque[i] / core->params[BLK_PARAM_MOTOR_STALL_NM] * supply;
        const float room = blk_min(push > 0.0f ? 0.95f - hold : 0.95f + hold, torque_limit(core) * supply);
        if (blk_abs(push) > room) {
            share = blk_min(share, room > 0.0f ? room / blk_abs(push) : 0.0f);
        }
    }
    return share;
}

/* Keeps the reference near what the wheels do, so that a robot that was held fast does not leap when it comes free. */
static void stay_near_the_wheels(blk_wheels_t *w)
{
    float lead[3];
    for (int j = 0; j < 3; j++) {
        lead[j] = w->reference[j];
        for (int i = 0; i < BLK_WHEELS; i++) {
            lead[j] -= w->twist_from_wheels[j][i] * w->speed_rad_s[i];
        }
    }
    const float away = blk_sqrt(lead[0] * lead[0] + lead[1] * lead[1]);
    if (away > LEAD_M_S) {
        w->reference[0] -= lead[0] * (1.0f - LEAD_M_S / away);
        w->reference[1] -= lead[1] * (1.0f - LEAD_M_S / away);
    }
    w->reference[2] -= lead[2] - blk_clamp(lead[2], -LEAD_RAD_S, LEAD_RAD_S);
}

/* Moves the reference towards the target: a straight ramp over one host period, no steeper than the limits and the
 * motors allow. The slope that results is the acceleration for the feed-forward, in the turning body frame. */
void blk_wheels_reference(blk_core_t *core, const blk_drive_t *drive, float dt_s, float accel[3])
{
    blk_wheels_t *w = &core->wheels;
    const bool brake = drive->brake;
    const float limit_m_s2 = drive->accel_m_s2, limit_rad_s2 = drive->accel_rad_s2;
    const float left_s = (drive->at_once || w->ramp_left_s < dt_s) ? dt_s : w->ramp_left_s;
    float slope[3];
    if (drive->inertial) { /* while the body turns, a velocity that keeps its direction turns in the body's frame */
        const float turn = w->reference[2] * dt_s, vx = w->reference[0];
        w->reference[0] += turn * w->reference[1];
        w->reference[1] -= turn * vx;
    }
    for (int i = 0; i < 3; i++) {
        slope[i] = (drive->twist[i] - w->reference[i]) / left_s;
    }
    w->ramp_left_s = left_s - dt_s;
    const float steepness = blk_sqrt(slope[0] * slope[0] + slope[1] * slope[1]);
    if (steepness > limit_m_s2) {
        slope[0] *= limit_m_s2 / steepness;
        slope[1] *= limit_m_s2 / steepness;
    }
    slope[2] = blk_clamp(slope[2], -limit_rad_s2, limit_rad_s2);
    if (!brake) { /* a brake is never softened: back-EMF helps it */
        const float share = feasible_share(core, slope);
        for (int i = 0; i < 3; i++) {
            slope[i] *= share;
        }
    }
    for (int i = 0; i < 3; i++) {
        w->reference[i] += slope[i] * dt_s;
    }
    stay_near_the_wheels(w);
    accel[0] = slope[0] - (drive->inertial ? 0.0f : w->reference[2] * w->reference[1]);
    accel[1] = slope[1] + (drive->inertial ? 0.0f : w->reference[2] * w->reference[0]);
    accel[2] = slope[2];
}

/* Torque for the acceleration, back-EMF for the speed, PI for the rest. The duty is kept where the motor's model says
 * that the torque (so the current) stays within its limit. */
void blk_wheels_control(blk_core_t *core, const float accel[3], float dt_s, float *duty)
{
    blk_wheels_t *w = &core->wheels;
    const float *p = core->params;
    const float supply = supply_factor(core), limit = torque_limit(core);
    const float no_load = p[BLK_PARAM_MOTOR_NO_LOAD_RAD_S];
    float speed[BLK_WHEELS], torque[BLK_WHEELS];
    wheel_speeds(w, w->reference, speed);
    wheel_torques(core, accel, torque);
    for (int i = 0; i < BLK_WHEELS; i++) {
        const float error = speed[i] - w->speed_rad_s[i];
        const float forward = (speed[i] / no_load + torque[i] / p[BLK_PARAM_MOTOR_STALL_NM]) * supply;
        const float wanted = forward + p[BLK_PARAM_WHEEL_KP] * error + w->integral[i];
        const float back_emf = w->speed_rad_s[i] / no_load;
        const float high = blk_clamp((back_emf + limit) * supply, -1.0f, 1.0f);
        const float low = blk_clamp((back_emf - limit) * supply, -1.0f, 1.0f);
        duty[i] = blk_clamp(wanted, low, high);
        /* Anti-windup: at a limit, only an error that leads away from it is integrated. */
        const bool held = (wanted > high && error > 0.0f) || (wanted < low && error < 0.0f);
        if (!held) {
            w->integral[i] = blk_clamp(w->integral[i] + p[BLK_PARAM_WHEEL_KI] * error * dt_s, -1.0f, 1.0f);
        }
        w->saturated = w->saturated || wanted > high || wanted < low;
    }
}
