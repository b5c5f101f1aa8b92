/* The explorer's own test: small programs whose outcomes under C11 are known, each outcome found or excluded. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explorer.h"

static struct {
    _Atomic uint32_t x, y, z;
    uint32_t data;
    uint64_t doorbell;
} shared;
static uint32_t got[4][2];
static bool seen; /* the outcome that the test asks about */

static void setup(void) {
    memset(&shared, 0, sizeof shared);
    memset(got, 0, sizeof got);
}

#define READ(at, order) atomic_load_explicit(&shared.at, memory_order_##order)
#define WRITE(at, value, order) atomic_store_explicit(&shared.at, value, memory_order_##order)
#define SWAP(at, value, order) atomic_exchange_explicit(&shared.at, value, memory_order_##order)
#define FENCE_(order) atomic_thread_fence(memory_order_##order)

/* Message passing: x = 1; y = 1 ‖ read y, then x. Asked: y new and x old. */
#define PASSING(name, write_order, read_order)                                       \
    static void name(int thread) {                                                   \
        if (thread == 0) WRITE(x, 1, relaxed), WRITE(y, 1, write_order);             \
        if (thread == 1) got[1][0] = READ(y, read_order), got[1][1] = READ(x, relaxed); \
    }
PASSING(passing_relaxed, relaxed, relaxed)
PASSING(passing_release_only, release, relaxed)
PASSING(passing, release, acquire)
static void passing_fences(int thread) {
    if (thread == 0) WRITE(x, 1, relaxed), FENCE_(release), WRITE(y, 1, relaxed);
    if (thread == 1) got[1][0] = READ(y, relaxed), FENCE_(acquire), got[1][1] = READ(x, relaxed);
}
static void ask_passing(void) { seen |= got[1][0] == 1 && got[1][1] == 0; }

/* The same with plain data: a race unless released and acquired. */
static void publish_relaxed(int thread) {
    if (thread == 0) shared.data = 7, WRITE(y, 1, relaxed);
    if (thread == 1 && READ(y, acquire)) got[1][0] = shared.data;
}
static void publish(int thread) {
    if (thread == 0) shared.data = 7, WRITE(y, 1, release);
    if (thread == 1 && READ(y, acquire)) got[1][0] = shared.data;
}
/* A release sequence goes on through a relaxed read-modify-write of a third thread. */
static void publish_through(int thread) {
    if (thread == 0) shared.data = 7, WRITE(y, 1, release);
    if (thread == 1) atomic_fetch_add_explicit(&shared.y, 1, memory_order_relaxed);
    if (thread == 2 && READ(y, acquire) == 2) got[2][0] = shared.data;
}
static void ask_nothing(void) {}

/* Store buffering: x = 1; read y ‖ y = 1; read x. Asked: both old. */
#define BUFFERING(name, first, second)                               \
    static void name(int thread) {                                   \
        if (thread == 0) { first(x, 1); got[0][0] = second(y); }     \
        if (thread == 1) { first(y, 1); got[1][0] = second(x); }     \
    }
#define WRITE_REL(at, value) WRITE(at, value, release)
#define WRITE_FENCE(at, value) WRITE(at, value, relaxed), FENCE_(seq_cst)
#define READ_ACQ(at) READ(at, acquire)
BUFFERING(buffering, WRITE_REL, READ_ACQ)
BUFFERING(buffering_fences, WRITE_FENCE, READ_ACQ)
static void ask_buffering(void) { seen |= got[0][0] == 0 && got[1][0] == 0; }

/* Two writes in opposite orders. Asked: both first writes end up newest, which needs a store in the middle. */
static void two_writes(int thread) {
    if (thread == 0) WRITE(x, 1, relaxed), WRITE(y, 2, relaxed);
    if (thread == 1) WRITE(y, 1, relaxed), WRITE(x, 2, relaxed);
}
static void ask_two_writes(void) { seen |= shared.x == 1 && shared.y == 1; }

/* Independent reads of independent writes. Asked: the readers disagree on the order. */
static void independent(int thread) {
    if (thread == 0) WRITE(x, 1, release);
    if (thread == 1) WRITE(y, 1, release);
    if (thread == 2) got[2][0] = READ(x, acquire), got[2][1] = READ(y, acquire);
    if (thread == 3) got[3][0] = READ(y, acquire), got[3][1] = READ(x, acquire);
}
static void ask_independent(void) { seen |= got[2][0] && !got[2][1] && got[3][0] && !got[3][1]; }

/* Coherence: one location never goes back. Asked: new, then old. */
static void coherence(int thread) {
    if (thread == 0) WRITE(x, 1, relaxed);
    if (thread == 1) got[1][0] = READ(x, relaxed), got[1][1] = READ(x, relaxed);
}
static void ask_coherence(void) { seen |= got[1][0] == 1 && got[1][1] == 0; }

/* Two read-modify-writes never read the same. Asked: a lost one. */
static void counting(int thread) {
    (void)thread;
    atomic_fetch_add_explicit(&shared.x, 1, memory_order_relaxed);
}
static void ask_counting(void) { seen |= shared.x != 2; }

/* The wake-up flag: the sleeper raises it and looks once more, the poster posts and takes it down. */
static void doze(uint32_t raised) {
    (void)raised;
    if (READ(x, acquire) == 0) explorer_wait(&shared.doorbell);
}
static void wake_exchanges(int thread) {
    if (thread == 0) doze(SWAP(z, 1, acq_rel));
    if (thread == 1) {
        WRITE(x, 1, release);
        if (SWAP(z, 0, acq_rel)) explorer_ring(&shared.doorbell);
    }
}
static void wake_store(int thread) {
    if (thread == 0) WRITE(z, 1, seq_cst), doze(0);
    if (thread == 1) {
        WRITE(x, 1, release);
        if (SWAP(z, 0, acq_rel)) explorer_ring(&shared.doorbell);
    }
}
static void wake_load(int thread) {
    if (thread == 0) doze(SWAP(z, 1, acq_rel));
    if (thread == 1) {
        WRITE(x, 1, release);
        if (READ(z, acquire)) explorer_ring(&shared.doorbell);
    }
}

typedef enum { FOUND, EXCLUDED, RACE, SOUND, DEADLOCK } expectation;
static const struct {
    scenario program;
    expectation expected;
} tests[] = {
    {{"message passing, relaxed", 2, setup, passing_relaxed, ask_passing}, FOUND},
    {{"message passing, release without acquire", 2, setup, passing_release_only, ask_passing}, FOUND},
    {{"message passing, release and acquire", 2, setup, passing, ask_passing}, EXCLUDED},
    {{"message passing, fences", 2, setup, passing_fences, ask_passing}, EXCLUDED},
    {{"plain data published by a relaxed store", 2, setup, publish_relaxed, ask_nothing}, RACE},
    {{"plain data published by a release store", 2, setup, publish, ask_nothing}, SOUND},
    {{"plain data published through a release sequence", 3, setup, publish_through, ask_nothing}, SOUND},
    {{"store buffering, release and acquire", 2, setup, buffering, ask_buffering}, FOUND},
    {{"store buffering, seq_cst fences", 2, setup, buffering_fences, ask_buffering}, EXCLUDED},
    {{"two writes in opposite orders", 2, setup, two_writes, ask_two_writes}, FOUND},
    {{"independent reads of independent writes", 4, setup, independent, ask_independent}, FOUND},
    {{"coherence of one location", 2, setup, coherence, ask_coherence}, EXCLUDED},
    {{"read-modify-writes count", 2, setup, counting, ask_counting}, EXCLUDED},
    {{"wake-up by exchanges on both sides", 2, setup, wake_exchanges, ask_nothing}, SOUND},
    {{"wake-up with a seq_cst store by the sleeper", 2, setup, wake_store, ask_nothing}, DEADLOCK},
    {{"wake-up with a load by the poster", 2, setup, wake_load, ask_nothing}, DEADLOCK},
};

static expectation outcome_of(const scenario *program) {
    seen = false;
    verdict result = explore(program, 1000000);
    if (result.failure) return strncmp(result.failure, "data race", 9) ? DEADLOCK : RACE;
    if (program->check == ask_nothing) return SOUND;
    return seen ? FOUND : EXCLUDED;
}

int main(void) {
    int wrong = 0, count = (int)(sizeof tests / sizeof *tests);
    explorer_share(&shared, sizeof shared);
    for (int i = 0; i < count; i++) {
        bool right = outcome_of(&tests[i].program) == tests[i].expected;
        if (!right) printf("litmus: %s: WRONG\n", tests[i].program.name);
        wrong += !right;
    }
    printf("litmus: %d programs, %d wrong\n", count, wrong);
    return wrong != 0;
}
