/* Break-beam, charger and kicker: a kick needs an armed robot, a charged capacitor, a rested kicker and a ball. */
#include "blk_core.h"
#include "blk_math.h"

void blk_kicker_step(blk_core_t *core, float dt_s, blk_actuators_t *out)
{
    blk_kicker_t *k = &core->kicker;
    const float *p = core->params;
    const bool beam = core->sensors.break_beam != 0u;
    k->beam_s = beam != k->ball ? k->beam_s + dt_s : 0.0f;
    if (k->beam_s * 1000.0f > p[beam ? BLK_PARAM_BREAK_BEAM_ON_MS : BLK_PARAM_BREAK_BEAM_OFF_MS]) {
        k->ball = beam;
        k->beam_s = 0.0f;
    }
    k->since_kick_s = blk_min(k->since_kick_s + dt_s, 1000.0f);

    const blk_command_t *command = &core->command.now;
    const bool armed = core->state == BLK_ARMED;
    out->charge = armed && core->sensors.kicker_v < p[BLK_PARAM_KICKER_FULL_V] ? 1u : 0u;
    const bool rested = k->since_kick_s * 1000.0f >= p[BLK_PARAM_KICKER_RECHARGE_MS];
    const bool charged = core->sensors.kicker_v >= p[BLK_PARAM_KICKER_READY_FRACTION] * p[BLK_PARAM_KICKER_FULL_V];
    const bool asked = command->kick_speed_m_s > 0.0f && (command->flags & BLK_COMMAND_FLAG_STOP) == 0u;
    if (!(armed && asked && rested && charged && k->ball)) {
        return;
    }
    const float speed = blk_min(command->kick_speed_m_s, p[BLK_PARAM_MAX_KICK_SPEED_M_S]);
    if ((command->flags & BLK_COMMAND_FLAG_CHIP) != 0u) {
        out->kick_chip_us = (uint32_t)(speed * p[BLK_PARAM_KICKER_CHIP_US_PER_M_S]);
    } else {
        out->kick_flat_us = (uint32_t)(speed * p[BLK_PARAM_KICKER_FLAT_US_PER_M_S]);
    }
    out->kick_speed_m_s = speed;
    out->charge = 0u; /* never charge into an open switch */
    k->since_kick_s = 0.0f;
    core->kicks++;
}
