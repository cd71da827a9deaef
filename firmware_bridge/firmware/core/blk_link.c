/* Frames in, frames out: handshake, commands, parameters, stops, telemetry. */
#include "blk_core.h"
#include "blk_math.h"

#ifndef BLK_LOCKSTEP
#define BLK_LOCKSTEP 0 /* match builds do not obey TICK */
#endif

#define PROTOCOL_VERSION 1u
#define FASTEST_SPEED_M_S 20.0f /* a command beyond these is damage, not a wish */
#define FASTEST_TURN_RAD_S 100.0f
#define LONGEST_MS 100.0f /* the schema's limit, said again where lives depend on it */
#define FARTHEST_M 30.0f
#define FARTHEST_TURN_RAD 32.0f /* five turns */
#define CLOCK_DRIFT_PPM 300u
#define STALE_RUN_US 500000u
#define RELEASE_US 0xFFFFFFFFu /* in TICK.dt_us: restart and keep your own time again */

static const blk_param_row_t param_table[BLK_PARAM_COUNT] = {BLK_PARAM_TABLE};

void blk_core_init(blk_core_t *core, uint32_t boot_id)
{
    memset(core, 0, sizeof *core);
    core->boot_id = boot_id;
    for (unsigned i = 0; i < BLK_PARAM_COUNT; i++) {
        core->params[i] = param_table[i].initial;
    }
    core->battery_v = core->params[BLK_PARAM_MOTOR_NOMINAL_V];
    core->current_share = 1.0f;
    core->kicker.since_kick_s = 1000.0f;
    blk_wheels_configure(&core->wheels, core->params);
}

/* All or nothing: half a frame in the ring would also cost its neighbour. */
static bool queue_frame(blk_core_t *core, uint8_t type, uint8_t seq, const void *payload, size_t size)
{
    uint8_t wire[BLK_WIRE_MAX] = {0};
    const size_t length = blk_frame_encode(type, seq, payload, size, wire);
    if (length > BLK_TX_RING - (core->tx_head - core->tx_tail)) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        core->tx_ring[core->tx_head++ % BLK_TX_RING] = wire[i];
    }
    return true;
}

void blk_send(blk_core_t *core, uint8_t type, const void *payload, size_t size)
{
    if (queue_frame(core, type, core->tx_seq, payload, size)) {
        core->tx_frames++;
    } else {
        core->tx_dropped++;
    }
    core->tx_seq++; /* also for a dropped one, so that the host sees the gap */
}

size_t blk_core_transmit(blk_core_t *core, uint8_t *out, size_t room)
{
    size_t n = 0;
    while (n < room && core->tx_tail != core->tx_head) {
        out[n++] = core->tx_ring[core->tx_tail++ % BLK_TX_RING];
    }
    return n;
}

static void send_hello(blk_core_t *core)
{
    blk_hello_t hello = {.schema_hash = BLK_SCHEMA_HASH, .boot_id = core->boot_id,
                         .protocol_version = PROTOCOL_VERSION, .lockstep = BLK_LOCKSTEP};
    memcpy(hello.revision, core->revision, sizeof hello.revision);
    blk_send(core, BLK_MSG_HELLO, &hello, sizeof hello);
}

void blk_send_telemetry(blk_core_t *core)
{
    const blk_odometry_t *o = &core->odometry;
    const float period_s = o->period_s > 0.0f ? o->period_s : 1.0f;
    const uint64_t hold_us = core->t_us - core->command.received_us;
    blk_telemetry_t t = {.t_mcu_us = core->t_us,
                         .gyro_z_rad_s = core->sensors.gyro_z_rad_s,
                         .accel_m_s2 = {core->sensors.accel_m_s2[0], core->sensors.accel_m_s2[1]},
                         .odometry_pose = {(float)o->x_m, (float)o->y_m, (float)o->theta_rad},
                         .dribbler_rad_s = core->sensors.dribbler_rad_s,
                         .kicker_charge = blk_clamp(core->sensors.kicker_v / core->params[BLK_PARAM_KICKER_FULL_V], 0.0f, 1.0f),
                         .battery_v = core->battery_v,
                         .faults = (uint16_t)core->faults,
                         .last_command_seq = core->command.now.seq,
                         .host_stamp_ns = core->command.now.host_stamp_ns,
                         .hold_us = hold_us < UINT32_MAX ? (uint32_t)hold_us : UINT32_MAX};
    for (int i = 0; i < BLK_WHEELS; i++) {
        t.wheel_rad_s[i] = o->period_angle[i] / period_s;
    }
    for (int j = 0; j < 3; j++) {
        t.odometry_twist[j] = o->period_delta[j] / period_s;
    }
    uint32_t flags = core->state == BLK_ARMED ? BLK_STATE_FLAG_ARMED : 0u;
    flags |= core->estop_cause != BLK_ESTOP_CAUSE_NONE ? BLK_STATE_FLAG_ESTOP : 0u;
    flags |= core->state == BLK_BRAKING ? BLK_STATE_FLAG_BRAKING : 0u;
    flags |= core->host_ok ? BLK_STATE_FLAG_HOST_OK : 0u;
    flags |= core->kicker.ball ? BLK_STATE_FLAG_BREAK_BEAM : 0u;
    const bool charged = core->sensors.kicker_v >= core->params[BLK_PARAM_KICKER_READY_FRACTION] * core->params[BLK_PARAM_KICKER_FULL_V];
    const bool rested = core->kicker.since_kick_s * 1000.0f >= core->params[BLK_PARAM_KICKER_RECHARGE_MS];
    flags |= charged && rested ? BLK_STATE_FLAG_KICK_READY : 0u;
    flags |= core->wheels.saturated ? BLK_STATE_FLAG_SATURATED : 0u;
    flags |= core->goal.active && core->goal.reached ? BLK_STATE_FLAG_AT_GOAL : 0u;
    flags |= o->gyro_calibrated ? BLK_STATE_FLAG_GYRO_CALIBRATED : 0u;
    t.flags = (uint16_t)flags;
    blk_send(core, BLK_MSG_TELEMETRY, &t, sizeof t);
}

static void send_health(blk_core_t *core)
{
    const blk_rx_counters_t *rx = &core->decoder.counters;
    const blk_health_t health = {.uptime_ms = (uint32_t)(core->t_us / 1000u), .rx_ok = rx->rx_ok, .crc_errors = rx->crc_errors,
                                 .cobs_errors = rx->cobs_errors, .length_errors = rx->length_errors,
                                 .sequence_gaps = rx->sequence_gaps, .overruns = rx->overruns, .rejected = core->rejected,
                                 .stale_commands = core->stale_commands, .uart_overrun = core->uart_overrun,
                                 .uart_framing = core->uart_framing, .uart_noise = core->uart_noise,
                                 .uart_parity = core->uart_parity, .rx_ring_overflow = core->rx_ring_overflow,
                                 .tx_frames = core->tx_frames, .tx_dropped = core->tx_dropped,
                                 .ticks_missed = core->ticks_missed, .watchdog_trips = core->watchdog_trips,
                                 .kicks = core->kicks, .estop_cause = core->estop_cause};
    blk_send(core, BLK_MSG_HEALTH, &health, sizeof health);
}

static void on_hello(blk_core_t *core, const blk_frame_t *frame)
{
    uint32_t hash;
    memcpy(&hash, frame->payload, sizeof hash);
    core->host_ok = hash == BLK_SCHEMA_HASH;
    core->command.live = false; /* whatever was commanded belongs to the past */
    core->command.seq_known = false;
    core->command.fastest_known = false;
    core->command.stale_run = false;
    core->goal.known = false;
    send_hello(core);
}

/* True when the command was held up on its way for longer than it may live. Its age is counted from the quickest
 * delivery so far, because the two clocks have no common zero. */
static bool came_late(blk_core_t *core, const blk_command_t *command, uint32_t lifetime_us)
{
    blk_command_slot_t *slot = &core->command;
    const int64_t delay_us = (int64_t)core->t_us - (int64_t)(command->host_stamp_ns / 1000u);
    if (slot->fastest_known) { /* let the memory fade as fast as two crystals may drift apart */
        const uint64_t passed_us = core->t_us - slot->fastest_at_us;
        slot->fastest_us += (int64_t)(passed_us * CLOCK_DRIFT_PPM / 1000000u);
        if (passed_us * CLOCK_DRIFT_PPM >= 1000000u) {
            slot->fastest_at_us = core->t_us;
        }
    }
    if (!slot->fastest_known || delay_us < slot->fastest_us) {
        slot->fastest_us = delay_us;
        slot->fastest_at_us = core->t_us;
        slot->fastest_known = true;
    }
    return delay_us - slot->fastest_us > (int64_t)lifetime_us;
}

/* Stale commands and nothing else: the yardstick itself may be wrong. A clock has jumped, or the host has counted on so
 * far behind a broken wire that its numbers look old. Then a new handshake is asked for. */
static void note_stale(blk_core_t *core)
{
    blk_command_slot_t *slot = &core->command;
    core->stale_commands++;
    if (!slot->stale_run) {
        slot->stale_run = true;
        slot->stale_since_us = core->t_us;
    } else if (core->t_us - slot->stale_since_us > STALE_RUN_US) {
        core->host_ok = false;
    }
}

static bool sane(const blk_core_t *core, const float *values, int count)
{
    bool good = core->host_ok;
    for (int i = 0; i < count; i++) {
        good = good && blk_finite(values[i]);
    }
    return good;
}

/* Puts a command into the slot, unless it is repeated, out of order or late. */
static bool admit(blk_core_t *core, const blk_command_t *command)
{
    blk_command_slot_t *slot = &core->command;
    const float watchdog_ms = blk_clamp(core->params[BLK_PARAM_WATCHDOG_MS], 0.0f, LONGEST_MS);
    const float lifetime_ms = blk_min((float)command->valid_for_ms, watchdog_ms);
    const bool repeated = slot->seq_known && (int16_t)(uint16_t)(command->seq - slot->now.seq) <= 0;
    if (repeated || came_late(core, command, (uint32_t)(watchdog_ms * 1000.0f))) {
        note_stale(core);
        return false;
    }
    slot->stale_run = false;
    slot->now = *command;
    slot->now.valid_for_ms = (uint16_t)lifetime_ms;
    slot->received_us = core->t_us;
    slot->live = true;
    slot->seq_known = true;
    return true;
}

static void on_command(blk_core_t *core, const blk_frame_t *frame)
{
    blk_command_t command;
    memcpy(&command, frame->payload, sizeof command);
    const float values[5] = {command.vx_m_s, command.vy_m_s, command.omega_rad_s, command.dribbler_rad_s, command.kick_speed_m_s};
    const bool possible = blk_abs(values[0]) <= FASTEST_SPEED_M_S && blk_abs(values[1]) <= FASTEST_SPEED_M_S &&
                          blk_abs(values[2]) <= FASTEST_TURN_RAD_S;
    if (!sane(core, values, 5) || !possible) {
        core->rejected++;
        return;
    }
    if (admit(core, &command)) {
        core->goal.active = false;
        core->goal.known = false; /* a goal that comes back later is a new one */
        core->wheels.ramp_left_s = core->params[BLK_PARAM_INTERPOLATION_MS] * 0.001f;
    }
}

static void on_goal(blk_core_t *core, const blk_frame_t *frame)
{
    blk_goal_t goal;
    memcpy(&goal, frame->payload, sizeof goal);
    const float values[9] = {goal.x_m, goal.y_m, goal.theta_rad, goal.max_speed_m_s, goal.max_omega_rad_s, goal.accel_m_s2,
                             goal.accel_rad_s2, goal.dribbler_rad_s, goal.kick_speed_m_s};
    const bool possible = blk_abs(goal.x_m) <= FARTHEST_M && blk_abs(goal.y_m) <= FARTHEST_M &&
                          blk_abs(goal.theta_rad) <= FARTHEST_TURN_RAD && goal.max_speed_m_s >= 0.0f &&
                          goal.max_omega_rad_s >= 0.0f && goal.accel_m_s2 >= 0.01f && goal.accel_rad_s2 >= 0.01f &&
                          goal.kind <= BLK_GOAL_KIND_ORBIT;
    if (!sane(core, values, 9) || !possible) {
        core->rejected++;
        return;
    }
    const blk_command_t command = {.seq = goal.seq, .flags = goal.flags, .dribbler_rad_s = goal.dribbler_rad_s,
                                   .kick_speed_m_s = goal.kick_speed_m_s, .valid_for_ms = goal.valid_for_ms,
                                   .host_stamp_ns = goal.host_stamp_ns};
    if (admit(core, &command)) {
        blk_goal_take(core, &goal);
    }
}

static void on_param(blk_core_t *core, const blk_frame_t *frame)
{
    blk_param_set_t request = {0}; /* PARAM_GET is its beginning */
    memcpy(&request, frame->payload, frame->size < sizeof request ? frame->size : sizeof request);
    blk_param_value_t answer = {.id = request.id, .status = BLK_PARAM_STATUS_OK};
    if (request.id >= BLK_PARAM_COUNT) {
        answer.status = BLK_PARAM_STATUS_UNKNOWN;
    } else {
        if (frame->type == BLK_MSG_PARAM_SET) {
            const blk_param_row_t *row = &param_table[request.id];
            if (!(request.value >= row->minimum && request.value <= row->maximum)) { /* also NaN */
                answer.status = BLK_PARAM_STATUS_OUT_OF_RANGE;
            } else if (core->state != BLK_STOPPED) {
                answer.status = BLK_PARAM_STATUS_BUSY;
            } else {
                core->params[request.id] = request.value;
                blk_wheels_configure(&core->wheels, core->params);
            }
        }
        answer.value = core->params[request.id];
    }
    blk_send(core, BLK_MSG_PARAM_VALUE, &answer, sizeof answer);
}

static void on_rearm(blk_core_t *core, const blk_frame_t *frame)
{
    blk_rearm_t rearm;
    memcpy(&rearm, frame->payload, sizeof rearm);
    const bool key = rearm.boot_id == core->boot_id && rearm.boot_id_inverted == ~core->boot_id;
    const bool gone = (core->faults & (BLK_FAULT_BIT_BATTERY_EMPTY | BLK_FAULT_BIT_SENSOR | BLK_FAULT_BIT_OVER_CURRENT)) == 0u;
    if (!key || !core->host_ok || !gone) {
        core->rejected++;
        return;
    }
    core->estop_cause = BLK_ESTOP_CAUSE_NONE;
    core->goal.known = false; /* it may have been carried away */
    core->command.live = false; /* arming needs a command that was sent after the release */
}

static void on_tick(blk_core_t *core, const blk_frame_t *frame)
{
    blk_tick_t tick;
    memcpy(&tick, frame->payload, sizeof tick);
    blk_sensors_t sensors = {.gyro_z_rad_s = tick.gyro_z_rad_s, .accel_m_s2 = {tick.accel_m_s2[0], tick.accel_m_s2[1]},
                             .battery_v = tick.battery_v, .current_a = tick.current_a, .kicker_v = tick.kicker_v,
                             .dribbler_rad_s = tick.dribbler_rad_s, .break_beam = tick.break_beam};
    for (int i = 0; i < BLK_WHEELS; i++) {
        sensors.wheel_ticks[i] = tick.wheel_ticks[i];
    }
    blk_actuators_t out = {0};
    const bool release = tick.dt_us == RELEASE_US;
    if (tick.dt_us == 0u || release) {
        char revision[sizeof core->revision];
        memcpy(revision, core->revision, sizeof revision);
        blk_core_init(core, tick.tick);
        memcpy(core->revision, revision, sizeof revision);
    } else {
        core->lockstep = false; /* or the step would leave it to us */
        blk_core_step(core, core->t_us + tick.dt_us, &sensors, &out);
    }
    core->lockstep = !release;
    blk_tick_ack_t ack = {.tick = tick.tick, .dribbler_duty = out.dribbler_duty, .kick_speed_m_s = out.kick_speed_m_s,
                          .kick_flat_us = (uint16_t)out.kick_flat_us, .kick_chip_us = (uint16_t)out.kick_chip_us,
                          .charge = (uint8_t)out.charge};
    for (int i = 0; i < BLK_WHEELS; i++) {
        ack.wheel_duty[i] = out.wheel_duty[i];
    }
    (void)queue_frame(core, BLK_MSG_TICK_ACK, (uint8_t)tick.tick, &ack, sizeof ack);
}

static void dispatch(blk_core_t *core, const blk_frame_t *frame)
{
    switch (frame->type) {
    case BLK_MSG_HELLO: on_hello(core, frame); break;
    case BLK_MSG_COMMAND: on_command(core, frame); break;
    case BLK_MSG_GOAL: on_goal(core, frame); break;
    case BLK_MSG_HEALTH_REQUEST: send_health(core); break;
    case BLK_MSG_PARAM_GET:
    case BLK_MSG_PARAM_SET: on_param(core, frame); break;
    case BLK_MSG_ESTOP: blk_estop(core, BLK_ESTOP_CAUSE_HOST); break;
    case BLK_MSG_REARM: on_rearm(core, frame); break;
    case BLK_MSG_TICK:
        if (BLK_LOCKSTEP != 0) {
            on_tick(core, frame);
        } else {
            core->rejected++;
        }
        break;
    default: core->rejected++; break; /* our own kind of message, echoed by a bad wire */
    }
}

void blk_core_receive(blk_core_t *core, uint64_t t_us, const uint8_t *data, size_t size)
{
    blk_frame_t frame = {.payload = core->decoder.buffer};
    if (!core->lockstep) {
        core->t_us = t_us;
    }
    for (size_t i = 0; i < size; i++) {
        if (blk_decoder_push(&core->decoder, data[i], &frame) != 0) {
            dispatch(core, &frame);
        }
    }
}
