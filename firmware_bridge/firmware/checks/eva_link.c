/* Frama-C Eva: no run-time error in link and parameter handling for any stream of frames at any times. The control
 * cycle and the way to a goal are other modules: here they only leave any state behind. What a changed parameter does to
 * the kinematics is in eva_params.c. */
#include "../core/blk_core.h"
#include "__fc_builtin.h"

void blk_wheels_configure(blk_wheels_t *wheels, const float *params)
{
    wheels->reference[0] = params[0];
}

void blk_core_step(blk_core_t *core, uint64_t t_us, const blk_sensors_t *sensors, blk_actuators_t *out)
{
    (void)sensors;
    Frama_C_make_unknown((char *)out, sizeof *out);
    out->kick_flat_us = out->kick_chip_us = 0u;
    core->t_us = t_us & 0x3FFFFFFFFFFFFu; /* 35 years */
    core->state = Frama_C_interval(0, 2);
}

void blk_goal_take(blk_core_t *core, const blk_goal_t *goal)
{
    core->goal.now = *goal;
    core->goal.active = core->goal.known = true;
}

void blk_estop(blk_core_t *core, uint32_t cause)
{
    core->estop_cause = cause;
}

int main(void)
{
    static blk_core_t core;
    uint8_t byte, out[64];
    blk_core_init(&core, (uint32_t)Frama_C_interval(0, 0x7FFFFFFF));
    /* Steps for the widening: the ages of commands stay between these, which Eva then confirms. */
    /*@ loop widen_hints core.command.fastest_us, -20000000000000000, 2000000000000000, 20000000000000000; */
    while (Frama_C_interval(0, 1)) {
        byte = (uint8_t)Frama_C_interval(0, 255);
        blk_core_receive(&core, (uint64_t)Frama_C_interval(0, 0x7FFFFFFF) * 4096u, &byte, 1u);
        blk_send_telemetry(&core);
        (void)blk_core_transmit(&core, out, sizeof out);
    }
    return 0;
}
