/* The robot's microcontroller without the microcontroller: bytes, sensor values and time in; bytes and actuator
 * values out. No heap, no hardware, no clock, no libc beyond mem*. One blk_core_t is one robot. */
#ifndef BLK_CORE_H
#define BLK_CORE_H

#include <stdbool.h>

#include "blk_framing.h"
#include "generated/blk_params.h"

#define BLK_WHEELS 4
#define BLK_TX_RING 2048u /* a power of two: 20 TELEMETRY frames */

typedef struct {
    int32_t wheel_ticks[BLK_WHEELS]; /* encoder counts since boot; they may wrap */
    float gyro_z_rad_s;
    float accel_m_s2[2];
    float battery_v;
    float current_a; /* drawn from the battery */
    float kicker_v;
    float dribbler_rad_s;
    uint32_t break_beam; /* 1: interrupted */
} blk_sensors_t;

typedef struct {
    float wheel_duty[BLK_WHEELS]; /* -1..1 of the battery voltage */
    float dribbler_duty;
    float kick_speed_m_s; /* > 0 only in the cycle in which a kick fires */
    uint32_t kick_flat_us, kick_chip_us;
    uint32_t charge; /* 1: charger on */
} blk_actuators_t;

typedef enum { BLK_STOPPED = 0, BLK_ARMED = 1, BLK_BRAKING = 2 } blk_drive_state_t;

typedef struct {
    float wheels_from_twist[BLK_WHEELS][3]; /* rad/s from m/s, m/s, rad/s */
    float twist_from_wheels[3][BLK_WHEELS]; /* its least-squares inverse */
    float reference[3];                     /* twist that the wheels are driven to now */
    float ramp_left_s;                      /* until the reference reaches the command */
    float speed_rad_s[BLK_WHEELS];          /* encoder tracking loop */
    float angle_error_rad[BLK_WHEELS];
    float integral[BLK_WHEELS];
    int32_t last_ticks[BLK_WHEELS];
    bool ticks_known, saturated;
} blk_wheels_t;

typedef struct {
    double x_m, y_m, theta_rad;
    float period_delta[3];            /* body displacement since the last telemetry */
    float period_angle[BLK_WHEELS];   /* wheel angles since then */
    float period_s;
    float gyro_bias_rad_s, still_s;
    float bias_samples; /* in the mean so far; at most BIAS_MEMORY */
    bool gyro_calibrated;
} blk_odometry_t;

typedef struct {
    float since_kick_s, beam_s;
    bool ball; /* debounced break-beam */
} blk_kicker_t;

typedef struct {
    blk_command_t now;         /* the one in force */
    uint64_t received_us;
    int64_t fastest_us;        /* least (device time - host stamp) seen: a command's age is measured from it */
    uint64_t fastest_at_us, stale_since_us;
    bool live, seq_known, fastest_known, stale_run;
} blk_command_slot_t;

typedef struct {
    blk_goal_t now;
    bool active;              /* the command in force is a GOAL */
    bool known;               /* `now.number` names a goal that has its anchor */
    bool reached;
    double x_m, y_m;          /* in the odometry's frame: where to go (POSE, ROTATE), or around what (ORBIT) */
    double last_theta_rad;
    float turn_left_rad;
} blk_goal_state_t;

/* What the wheels are to do in this cycle. */
typedef struct {
    float twist[3];
    float accel_m_s2, accel_rad_s2; /* the steepest slope of the reference */
    bool brake, at_once;            /* at_once: no ramp over the host's period */
    bool inertial;                  /* the twist keeps its direction on the ground while the body turns */
} blk_drive_t;

typedef struct {
    uint64_t t_us;
    uint32_t boot_id;
    char revision[12];
    float params[BLK_PARAM_COUNT];
    blk_decoder_t decoder;
    uint8_t tx_ring[BLK_TX_RING];
    uint32_t tx_head, tx_tail;
    uint8_t tx_seq;
    uint32_t rejected, stale_commands, tx_frames, tx_dropped, ticks_missed, watchdog_trips, kicks;
    uint32_t uart_overrun, uart_framing, uart_noise, uart_parity, rx_ring_overflow; /* counted by the port */
    blk_command_slot_t command;
    blk_goal_state_t goal;
    blk_drive_state_t state;
    bool host_ok, lockstep;
    uint32_t estop_cause, faults;
    uint64_t braking_since_us, next_telemetry_us, last_step_us;
    float battery_v, battery_empty_s;
    float current_share, current_high_s; /* of the torque limit that the battery current leaves; how long it was far too high */
    blk_sensors_t sensors; /* of the last cycle, checked */
    blk_wheels_t wheels;
    blk_odometry_t odometry;
    blk_kicker_t kicker;
} blk_core_t;

/* Starts (or restarts) a robot: stopped, disarmed, no handshake, default parameters. */
void blk_core_init(blk_core_t *core, uint32_t boot_id);

/* Bytes from the host, at device time t_us. Answers are queued. */
void blk_core_receive(blk_core_t *core, uint64_t t_us, const uint8_t *data, size_t size);

/* One control cycle, nominally each millisecond; time comes from a free-running counter. */
void blk_core_step(blk_core_t *core, uint64_t t_us, const blk_sensors_t *sensors, blk_actuators_t *out);

/* Takes up to `room` bytes that are due to the host; returns their number. */
size_t blk_core_transmit(blk_core_t *core, uint8_t *out, size_t room);

/* --- between the core's own files --- */
void blk_send(blk_core_t *core, uint8_t type, const void *payload, size_t size);
void blk_send_telemetry(blk_core_t *core);
void blk_estop(blk_core_t *core, uint32_t cause);
void blk_wheels_configure(blk_wheels_t *wheels, const float *params);
bool blk_wheels_measure(blk_core_t *core, const int32_t *ticks, float dt_s);
void blk_wheels_reference(blk_core_t *core, const blk_drive_t *drive, float dt_s, float accel[3]);
void blk_goal_take(blk_core_t *core, const blk_goal_t *goal);
void blk_goal_drive(blk_core_t *core, float dt_s, blk_drive_t *drive);
void blk_wheels_control(blk_core_t *core, const float accel[3], float dt_s, float *duty);
void blk_odometry_step(blk_core_t *core, const float *wheel_angle, float dt_s);
void blk_kicker_step(blk_core_t *core, float dt_s, blk_actuators_t *out);

#endif
