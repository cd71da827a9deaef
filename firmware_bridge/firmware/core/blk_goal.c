/* The way to a GOAL: in each cycle the speed from which the rest of the way is just enough to stop. No plan is kept, so
 * that a push, a slip or a newer goal changes nothing but the rest of the way. */
#include "blk_core.h"
#include "blk_math.h"

#define BRAKE_SHARE 0.75f /* of the allowed acceleration; the rest is for what the wheels lag behind */
#define NEAR_M 0.005f
#define NEAR_RAD 0.0175f
#define SLOW_M_S 0.05f
#define SLOW_RAD_S 0.2f

/* From where the robot is now; the same number goes on towards the same place. */
void blk_goal_take(blk_core_t *core, const blk_goal_t *goal)
{
    blk_goal_state_t *g = &core->goal;
    const blk_odometry_t *o = &core->odometry;
    if (!g->known || goal->number != g->now.number || goal->kind != g->now.kind) {
        const float s = blk_sin((float)o->theta_rad), c = blk_cos((float)o->theta_rad);
        const bool moves = goal->kind != BLK_GOAL_KIND_ROTATE;
        const float x = moves ? goal->x_m : 0.0f, y = moves ? goal->y_m : 0.0f;
        g->x_m = o->x_m + (double)(c * x - s * y);
        g->y_m = o->y_m + (double)(s * x + c * y);
        g->turn_left_rad = goal->theta_rad;
        g->last_theta_rad = o->theta_rad;
        g->reached = false;
    }
    g->now = *goal;
    g->known = true;
    g->active = true;
}

/* Speed at this distance: a square root (constant deceleration) that ends in a straight line (no chattering). */
static float approach(float distance, float accel, float gain, float fastest)
{
    const float knee = accel / (gain * gain);
    const float speed = distance > knee ? blk_sqrt(2.0f * accel * (distance - 0.5f * knee)) : gain * distance;
    return blk_min(speed, fastest);
}

void blk_goal_drive(blk_core_t *core, float dt_s, blk_drive_t *drive)
{
    blk_goal_state_t *g = &core->goal;
    const blk_odometry_t *o = &core->odometry;
    const float *p = core->params;
    const float gain = p[BLK_PARAM_GOAL_GAIN_1_S];
    const float fastest = blk_min(g->now.max_speed_m_s, p[BLK_PARAM_MAX_SPEED_M_S]);
    float max_omega = blk_min(g->now.max_omega_rad_s, p[BLK_PARAM_MAX_OMEGA_RAD_S]);
    drive->at_once = true;
    drive->accel_m_s2 = blk_min(drive->accel_m_s2, g->now.accel_m_s2);
    drive->accel_rad_s2 = blk_min(drive->accel_rad_s2, g->now.accel_rad_s2);

    g->turn_left_rad -= blk_wrap((float)(o->theta_rad - g->last_theta_rad));
    g->last_theta_rad = o->theta_rad;
    const float s = blk_sin((float)o->theta_rad), c = blk_cos((float)o->theta_rad);
    const float dx = (float)(g->x_m - o->x_m), dy = (float)(g->y_m - o->y_m);
    float ex = c * dx + s * dy, ey = c * dy - s * dx; /* in the body's frame */
    const bool orbit = g->now.kind == BLK_GOAL_KIND_ORBIT;
    if (orbit) {
        const float radius = blk_sqrt(g->now.x_m * g->now.x_m + g->now.y_m * g->now.y_m);
        if (radius > 0.01f) { /* the way around is limited like any other way, and so is the pull inwards */
            max_omega = blk_min(max_omega, blk_min(fastest / radius, blk_sqrt(drive->accel_m_s2 / radius)));
            drive->accel_rad_s2 = blk_min(drive->accel_rad_s2, drive->accel_m_s2 / radius);
        }
        ex -= g->now.x_m; /* the point must stay where it was seen */
        ey -= g->now.y_m;
    }
    const float turn = approach(blk_abs(g->turn_left_rad), BRAKE_SHARE * drive->accel_rad_s2, gain, max_omega);
    drive->twist[2] = g->turn_left_rad < 0.0f ? -turn : turn;

    const float distance = blk_sqrt(ex * ex + ey * ey);
    const float speed = approach(distance, BRAKE_SHARE * drive->accel_m_s2, gain, fastest);
    const float share = distance > 1e-6f ? speed / distance : 0.0f;
    drive->twist[0] = ex * share;
    drive->twist[1] = ey * share;
    drive->inertial = !orbit;
    if (orbit) {
        const float step = drive->accel_rad_s2 * dt_s;
        const float now = core->wheels.reference[2];
        const float omega = now + blk_clamp(drive->twist[2] - now, -step, step);
        drive->twist[0] += omega * g->now.y_m;
        drive->twist[1] -= omega * g->now.x_m;
        drive->accel_m_s2 *= 1.5f; /* room to hold the circle while it speeds up */
    }
    const float *v = core->wheels.reference;
    g->reached = distance < NEAR_M && blk_abs(g->turn_left_rad) < NEAR_RAD && blk_abs(v[2]) < SLOW_RAD_S &&
                 v[0] * v[0] + v[1] * v[1] < SLOW_M_S * SLOW_M_S;
}
