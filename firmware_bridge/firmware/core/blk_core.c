/* The control cycle: measure, supervise, drive, report. */
#include "blk_core.h"
#include "blk_math.h"

#define PERIOD_US 1000u
#define GYRO_LIMIT_RAD_S 200.0f /* three times what such gyros measure */
#define BATTERY_EMPTY_S 1.0f
#define CURRENT_FAR_ABOVE 1.5f
#define CURRENT_HIGH_S 0.05f
#define CURRENT_CUT_S 0.02f /* from the full torque limit to none */
#define CURRENT_EASE_S 0.2f /* and back */
#define BRAKE_AT_MOST_US 1500000u
#define AT_REST_RAD_S 1.0f

void blk_estop(blk_core_t *core, uint32_t cause)
{
    if (core->estop_cause == BLK_ESTOP_CAUSE_NONE) {
        core->estop_cause = cause;
    }
}

/* Takes the sensor values, or the last good ones when a value is not a number: then nothing may move. */
static void take_sensors(blk_core_t *core, const blk_sensors_t *sensors)
{
    const float values[7] = {sensors->gyro_z_rad_s, sensors->accel_m_s2[0], sensors->accel_m_s2[1], sensors->battery_v,
                             sensors->current_a, sensors->kicker_v, sensors->dribbler_rad_s};
    bool finite = true;
    for (int i = 0; i < 7; i++) {
        finite = finite && blk_finite(values[i]);
    }
    finite = finite && blk_abs(sensors->gyro_z_rad_s) <= GYRO_LIMIT_RAD_S; /* angles are wrapped turn by turn */
    if (finite) {
        core->sensors = *sensors;
        core->faults &= ~(uint32_t)BLK_FAULT_BIT_SENSOR;
    } else {
        core->faults |= BLK_FAULT_BIT_SENSOR;
        blk_estop(core, BLK_ESTOP_CAUSE_SENSOR);
    }
}

static void watch_battery(blk_core_t *core, float dt_s)
{
    const float *p = core->params;
    core->battery_v += blk_min(dt_s / 0.1f, 1.0f) * (core->sensors.battery_v - core->battery_v);
    core->battery_empty_s = core->battery_v < p[BLK_PARAM_BATTERY_CUTOFF_V] ? core->battery_empty_s + dt_s : 0.0f;
    core->faults &= ~(uint32_t)(BLK_FAULT_BIT_BATTERY_LOW | BLK_FAULT_BIT_BATTERY_EMPTY);
    if (core->battery_v < p[BLK_PARAM_BATTERY_WARN_V]) {
        core->faults |= BLK_FAULT_BIT_BATTERY_LOW;
    }
    if (core->battery_empty_s > BATTERY_EMPTY_S) {
        core->faults |= BLK_FAULT_BIT_BATTERY_EMPTY;
        blk_estop(core, BLK_ESTOP_CAUSE_BATTERY);
    }
}

/* Motors that are held fast are given less torque; a current that goes on all the same is a short circuit. */
static void watch_current(blk_core_t *core, float dt_s)
{
    const float limit = core->params[BLK_PARAM_CURRENT_LIMIT_A], now = core->sensors.current_a;
    if (now > limit) {
        core->faults |= BLK_FAULT_BIT_OVER_CURRENT;
        core->current_share = blk_clamp(core->current_share - dt_s / CURRENT_CUT_S, 0.0f, 1.0f);
    } else {
        core->faults &= ~(uint32_t)BLK_FAULT_BIT_OVER_CURRENT;
        core->current_share = blk_clamp(core->current_share + dt_s / CURRENT_EASE_S, 0.0f, 1.0f);
    }
    core->current_high_s = now > CURRENT_FAR_ABOVE * limit ? core->current_high_s + dt_s : 0.0f;
    if (core->current_high_s > CURRENT_HIGH_S) {
        blk_estop(core, BLK_ESTOP_CAUSE_CURRENT);
        core->state = BLK_STOPPED; /* no bridge may push any more, not even for a brake that another stop began */
    }
}

/* The only place where the robot becomes armed, and the watchdog. */
static void supervise(blk_core_t *core)
{
    blk_command_slot_t *slot = &core->command;
    const uint64_t age_us = core->t_us - slot->received_us;
    const bool expired = slot->live && age_us >= (uint64_t)slot->now.valid_for_ms * 1000u;
    if (expired) {
        slot->live = false;
    }
    const bool wanted = slot->live && core->host_ok && (slot->now.flags & BLK_COMMAND_FLAG_ARM) != 0u;
    const bool allowed = wanted && core->estop_cause == BLK_ESTOP_CAUSE_NONE;
    if (core->state == BLK_ARMED && !allowed) {
        core->state = BLK_BRAKING;
        core->braking_since_us = core->t_us;
        if (expired) {
            core->watchdog_trips++;
            core->faults |= BLK_FAULT_BIT_COMMAND_TIMEOUT;
        }
    } else if (core->state != BLK_ARMED && allowed) {
        if (core->state == BLK_STOPPED) {
            memset(core->wheels.integral, 0, sizeof core->wheels.integral);
            memset(core->wheels.reference, 0, sizeof core->wheels.reference);
        }
        core->state = BLK_ARMED;
        core->faults &= ~(uint32_t)(BLK_FAULT_BIT_COMMAND_TIMEOUT | BLK_FAULT_BIT_ENCODER_JUMP);
    }
}

/* Braking is over when the reference and every wheel have come to rest, or when it should have been long ago. */
static void finish_braking(blk_core_t *core)
{
    bool rest = true;
    for (int j = 0; j < 3; j++) {
        rest = rest && blk_abs(core->wheels.reference[j]) < 1e-4f;
    }
    for (int i = 0; i < BLK_WHEELS; i++) {
        rest = rest && blk_abs(core->wheels.speed_rad_s[i]) < AT_REST_RAD_S;
    }
    if (rest || core->t_us - core->braking_since_us > BRAKE_AT_MOST_US) {
        core->state = BLK_STOPPED;
    }
}

static void drive(blk_core_t *core, float dt_s, blk_actuators_t *out)
{
    const blk_command_t *command = &core->command.now;
    const float *p = core->params;
    float accel[3];
    const bool go = core->state == BLK_ARMED && (command->flags & BLK_COMMAND_FLAG_STOP) == 0u;
    blk_drive_t wanted = {.accel_m_s2 = p[go ? BLK_PARAM_ACCEL_LIMIT_M_S2 : BLK_PARAM_BRAKE_M_S2],
                          .accel_rad_s2 = p[go ? BLK_PARAM_ACCEL_LIMIT_RAD_S2 : BLK_PARAM_BRAKE_RAD_S2],
                          .brake = !go, .at_once = !go};
    if (go && core->goal.active) {
        blk_goal_drive(core, dt_s, &wanted);
    } else if (go) {
        const float vx = command->vx_m_s, vy = command->vy_m_s;
        const float speed = blk_sqrt(vx * vx + vy * vy);
        const float scale = speed > p[BLK_PARAM_MAX_SPEED_M_S] ? p[BLK_PARAM_MAX_SPEED_M_S] / speed : 1.0f;
        wanted.twist[0] = vx * scale;
        wanted.twist[1] = vy * scale;
        wanted.twist[2] = blk_clamp(command->omega_rad_s, -p[BLK_PARAM_MAX_OMEGA_RAD_S], p[BLK_PARAM_MAX_OMEGA_RAD_S]);
    }
    blk_wheels_reference(core, &wanted, dt_s, accel);
    blk_wheels_control(core, accel, dt_s, out->wheel_duty);
    if (core->state == BLK_ARMED && command->dribbler_rad_s != 0.0f) { /* still on in STOP: the ball is to be held */
        const float supply = p[BLK_PARAM_MOTOR_NOMINAL_V] / (core->battery_v > 5.0f ? core->battery_v : 5.0f);
        const float error = command->dribbler_rad_s - core->sensors.dribbler_rad_s;
        const float forward = command->dribbler_rad_s / p[BLK_PARAM_DRIBBLER_MAX_RAD_S] * supply;
        out->dribbler_duty = blk_clamp(forward + p[BLK_PARAM_DRIBBLER_KP] * error, -1.0f, 1.0f);
    }
}

void blk_core_step(blk_core_t *core, uint64_t t_us, const blk_sensors_t *sensors, blk_actuators_t *out)
{
    memset(out, 0, sizeof *out);
    if (core->lockstep) {
        return; /* TICK drives the cycles now */
    }
    const uint64_t passed_us = t_us > core->last_step_us ? t_us - core->last_step_us : PERIOD_US;
    core->last_step_us = t_us;
    core->t_us = t_us;
    if (passed_us >= PERIOD_US + PERIOD_US / 2u) {
        core->ticks_missed++;
    }
    const float dt_s = blk_min((float)passed_us * 1e-6f, 0.02f);

    take_sensors(core, sensors);
    if (!blk_wheels_measure(core, core->sensors.wheel_ticks, dt_s)) {
        core->faults |= BLK_FAULT_BIT_ENCODER_JUMP;
    }
    watch_battery(core, dt_s);
    watch_current(core, dt_s);
    supervise(core);
    if (core->state != BLK_STOPPED) {
        drive(core, dt_s, out);
    }
    if (core->state == BLK_BRAKING) {
        finish_braking(core);
    }
    blk_kicker_step(core, dt_s, out);

    if (t_us >= core->next_telemetry_us) {
        const uint64_t period_us = (uint64_t)(core->params[BLK_PARAM_TELEMETRY_PERIOD_MS] * 1000.0f);
        const uint64_t on_grid = core->next_telemetry_us + period_us, soonest = t_us + period_us / 2u;
        core->next_telemetry_us = on_grid > soonest ? on_grid : soonest; /* a mean over a short period is noise */
        blk_send_telemetry(core);
        memset(core->odometry.period_angle, 0, sizeof core->odometry.period_angle);
        memset(core->odometry.period_delta, 0, sizeof core->odometry.period_delta);
        core->odometry.period_s = 0.0f;
        core->wheels.saturated = false;
    }
}
