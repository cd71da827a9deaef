/* Frama-C Eva: no run-time error in the decoder for any stream of bytes, nor in the encoder for any payload. */
#include "../core/blk_framing.h"
#include "__fc_builtin.h"

int main(void)
{
    static blk_decoder_t decoder;
    static uint8_t payload[256], wire[BLK_WIRE_MAX];
    blk_frame_t frame = {0};
    Frama_C_make_unknown((char *)payload, sizeof payload);
    const size_t size = (size_t)Frama_C_interval(0, 256);
    const size_t length = blk_frame_encode((uint8_t)Frama_C_interval(0, 255), (uint8_t)Frama_C_interval(0, 255), payload, size, wire);
    /*@ assert length <= BLK_WIRE_MAX; */
    while (Frama_C_interval(0, 1)) {
        if (blk_decoder_push(&decoder, (uint8_t)Frama_C_interval(0, 255), &frame) != 0) {
            /*@ assert frame.size <= BLK_PAYLOAD_MAX; */
        }
    }
    return (int)length;
}
