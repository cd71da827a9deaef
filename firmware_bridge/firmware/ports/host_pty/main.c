/* The core as a process on a pseudo-terminal, in real time at 1 kHz: `blackout_host_pty REVISION BOOT_ID`.
 * Prints the terminal's path, runs until its standard input closes (so that it cannot outlive its owner).
 *
 * Cycles have absolute deadlines, one each millisecond of device time. A desktop's scheduler may wake us late, as no
 * microcontroller would be: late cycles are then made up for at once, each at its own device time (and counted in
 * ticks_missed), up to half of the command watchdog. What is later than that is left out, as after a real stall. */
#include "bench_plant.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 1000000LL
#define CATCH_UP_NS (50LL * PERIOD_NS)

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int open_terminal(void)
{
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        perror("pseudo-terminal");
        exit(1);
    }
    /* Kept open here too: the terminal stays raw, and a client that closes it is no hang-up. */
    const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    struct termios raw;
    if (slave < 0 || tcgetattr(slave, &raw) != 0) {
        perror("pseudo-terminal");
        exit(1);
    }
    cfmakeraw(&raw);
    (void)tcsetattr(slave, TCSANOW, &raw);
    (void)printf("%s\n", ptsname(master));
    (void)fflush(stdout);
    return master;
}

/* Sends what is due; what the terminal has no room for waits for the next call. */
static void flush(int master, blk_core_t *core)
{
    static uint8_t pending[512];
    static size_t size, sent;
    for (;;) {
        if (sent == size) {
            sent = 0;
            size = blk_core_transmit(core, pending, sizeof pending);
        }
        const ssize_t n = size > sent ? write(master, pending + sent, size - sent) : 0;
        if (n <= 0) {
            return;
        }
        sent += (size_t)n;
    }
}

int main(int argc, char **argv)
{
    static blk_core_t core;
    static bench_plant_t bench;
    blk_sensors_t sensors = {0};
    blk_actuators_t actuators = {0};
    (void)prctl(PR_SET_TIMERSLACK, 1000UL); /* wake within a microsecond of the deadline, not fifty */
    const int master = open_terminal();
    blk_core_init(&core, argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : (uint32_t)getpid());
    memcpy(core.revision, argc > 1 ? argv[1] : "", argc > 1 && strlen(argv[1]) < sizeof core.revision ? strlen(argv[1]) : 0u);
    const int64_t start = now_ns();
    int64_t due = start + PERIOD_NS; /* device time is 0 at start */
    for (;;) {
        const int64_t wait = core.lockstep ? 100 * PERIOD_NS : due - now_ns();
        const struct timespec timeout = {0, wait > 0 ? (long)wait : 0};
        struct pollfd fds[2] = {{master, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        const int ready = ppoll(fds, 2, &timeout, NULL);
        uint8_t data[4096];
        if (ready > 0 && fds[1].revents != 0 && read(STDIN_FILENO, data, sizeof data) <= 0) {
            return 0;
        }
        const ssize_t n = ready > 0 && fds[0].revents != 0 ? read(master, data, sizeof data) : 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return 0;
        }
        const int64_t now = now_ns();
        if (now - due > CATCH_UP_NS) {
            due += (now - due - CATCH_UP_NS) / PERIOD_NS * PERIOD_NS;
        }
        for (; due <= now && !core.lockstep; due += PERIOD_NS) {
            bench_plant_step(&bench, core.params, &actuators, (double)PERIOD_NS * 1e-9, &sensors);
            blk_core_step(&core, (uint64_t)((due - start) / 1000), &sensors, &actuators);
            core.ticks_missed += now - due >= PERIOD_NS / 2 ? 1u : 0u;
            flush(master, &core);
        }
        /* After the late cycles: taken for older than they are, bytes would make round trips look too short. */
        if (n > 0) {
            blk_core_receive(&core, (uint64_t)((now - start) / 1000), data, (size_t)n);
        }
        flush(master, &core);
    }
}
