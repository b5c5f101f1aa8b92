/* Many threads on tiny rings: every record is taken once, whole, in its producer's order, and no sleeper is forgotten.
 *
 * usage: stress_ring [SECONDS]. Goes through all scenes at least once, then round again until the time is up.
 */
#define _DEFAULT_SOURCE
#define _DARWIN_C_SOURCE

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { MOST = 2, RECORDS = 2000, BATCH = 5, PATIENCE_MS = 20000 };

typedef struct scene {
    uint32_t capacity;
    uint32_t producers; /* one: it uses the single put */
    uint32_t consumers; /* one: it uses the single get */
    bool shrinking;     /* another thread keeps changing the limit */
    bool sleeping;      /* consumers sleep until they are woken, else they spin */
} scene;

/* Capacity 3 above all: four slots, so that the limit and the sequences both bound it, and it wraps all the time. */
static const scene SCENES[] = {
    {3, 2, 2, false, false}, {3, 2, 1, false, false}, {3, 1, 2, false, false}, {3, 1, 1, false, false},
    {3, 2, 2, true, false},  {3, 2, 1, true, true},   {3, 2, 2, false, true},  {3, 1, 1, false, true},
    {1, 2, 2, false, false}, {2, 2, 2, false, true},  {4, 2, 2, true, false},  {64, 2, 2, false, true},
};
enum { SCENE_COUNT = sizeof SCENES / sizeof *SCENES };

typedef struct stage {
    scene is;
    preloader_ring ring;
    _Atomic uint32_t left; /* records not taken yet */
    atomic_uchar seen[MOST * RECORDS];
    int bells[MOST][2]; /* a pipe for each consumer */
} stage;

typedef struct actor {
    stage *on;
    uint32_t number;
    uint32_t seed;
} actor;

static uint32_t chance(actor *of, uint32_t below) {
    of->seed = of->seed * 1664525u + 1013904223u;
    return (of->seed >> 16) % below;
}

static void ring_bells(stage *on) {
    uint32_t asleep = preloader_ring_wake(&on->ring);
    for (uint32_t consumer = 0; asleep >> consumer; consumer++)
        if (asleep >> consumer & 1) CHECK(write(on->bells[consumer][1], "!", 1) == 1);
}

static uint32_t put(actor *me, const preloader_record *records, uint32_t count) {
    const preloader_ring *ring = &me->on->ring;
    bool alone = me->on->is.producers == 1;
    if (count == 1) return alone ? preloader_ring_try_put_single(ring, records) : preloader_ring_try_put(ring, records);
    return alone ? preloader_ring_put_many_single(ring, records, count) : preloader_ring_put_many(ring, records, count);
}

static uint32_t get(actor *me, preloader_record *records, uint32_t count) {
    const preloader_ring *ring = &me->on->ring;
    bool alone = me->on->is.consumers == 1;
    if (count == 1) return alone ? preloader_ring_try_get_single(ring, records) : preloader_ring_try_get(ring, records);
    return alone ? preloader_ring_get_many_single(ring, records, count) : preloader_ring_get_many(ring, records, count);
}

static void *produce(void *with) {
    actor *me = with;
    preloader_record records[BATCH];
    for (uint32_t sent = 0; sent < RECORDS;) {
        uint32_t count = 1 + chance(me, BATCH);
        if (count > RECORDS - sent) count = RECORDS - sent;
        for (uint32_t at = 0; at < count; at++) records[at] = numbered(me->number * RECORDS + sent + at);
        uint32_t done = put(me, records, count);
        sent += done;
        if (!done) sched_yield();
        else if (me->on->is.sleeping) ring_bells(me->on);
    }
    return NULL;
}

/* Sleep until there is something, or until everything was taken: who takes the last record rings every bell. */
static void sleep_until_woken(actor *me) {
    stage *on = me->on;
    if (!preloader_ring_arm(&on->ring, 1u << me->number)) return;
    if (atomic_load(&on->left)) {
        struct pollfd bell = {.fd = on->bells[me->number][0], .events = POLLIN};
        CHECK(poll(&bell, 1, PATIENCE_MS) == 1); /* a lost wake-up */
        char rung[64];
        CHECK(read(bell.fd, rung, sizeof rung) > 0);
    }
    preloader_ring_disarm(&on->ring, 1u << me->number);
}

static void *consume(void *with) {
    actor *me = with;
    stage *on = me->on;
    preloader_record records[BATCH];
    uint32_t next[MOST] = {0};
    while (atomic_load(&on->left)) {
        uint32_t got = get(me, records, 1 + chance(me, BATCH));
        for (uint32_t at = 0; at < got; at++) {
            uint32_t number = records[at].resource, producer = number / RECORDS;
            CHECK(whole(&records[at]) && producer < on->is.producers);
            CHECK(number % RECORDS >= next[producer]);
            next[producer] = number % RECORDS + 1;
            CHECK(!atomic_exchange_explicit(&on->seen[number], 1, memory_order_relaxed));
        }
        CHECK(preloader_ring_length(&on->ring) <= on->is.capacity);
        if (got && atomic_fetch_sub(&on->left, got) == got) {
            for (uint32_t other = 0; other < on->is.consumers; other++)
                CHECK(write(on->bells[other][1], "!", 1) == 1);
        }
        if (got) continue;
        if (on->is.sleeping) sleep_until_woken(me);
        else sched_yield();
    }
    return NULL;
}

static void *shrink(void *with) {
    actor *me = with;
    while (atomic_load(&me->on->left)) {
        preloader_ring_set_limit(&me->on->ring, chance(me, me->on->is.capacity + 1));
        sched_yield();
    }
    return NULL;
}

static void play(stage *on, const scene *is, uint32_t seed) {
    on->is = *is;
    on->ring = new_ring(is->capacity, 0 - (uint64_t)(seed % 3 ? seed % 100 : 0)); /* most go round the wrap */
    atomic_store(&on->left, is->producers * RECORDS);
    memset((void *)on->seen, 0, sizeof on->seen);
    for (uint32_t at = 0; at < is->consumers; at++) CHECK(pipe(on->bells[at]) == 0);
    actor actors[2 * MOST + 1];
    pthread_t threads[2 * MOST + 1];
    uint32_t count = 0;
    for (uint32_t at = 0; at < is->producers + is->consumers + is->shrinking; at++) {
        uint32_t consumer = at - is->producers;
        void *(*part)(void *) = at < is->producers ? produce : consumer < is->consumers ? consume : shrink;
        actors[at] = (actor){on, at < is->producers ? at : consumer, seed * 31 + at};
        CHECK(pthread_create(&threads[count++], NULL, part, &actors[at]) == 0);
    }
    while (count) CHECK(pthread_join(threads[--count], NULL) == 0);
    for (uint32_t at = 0; at < is->producers * RECORDS; at++) CHECK(on->seen[at]);
    CHECK(preloader_ring_length(&on->ring) == 0);
    for (uint32_t at = 0; at < is->consumers; at++) close(on->bells[at][0]), close(on->bells[at][1]);
    free(on->ring.memory);
}

int main(int count, char **words) {
    double seconds = count > 1 ? strtod(words[1], NULL) : 2.0;
    static stage on;
    time_t begin = time(NULL);
    uint32_t rounds = 0;
    do {
        play(&on, &SCENES[rounds % SCENE_COUNT], rounds);
        rounds++;
    } while (rounds < SCENE_COUNT || difftime(time(NULL), begin) < seconds);
    printf("stress: %u rounds, every record once and in order\n", (unsigned)rounds);
    return 0;
}
