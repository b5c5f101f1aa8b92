/* Small programs over the ring, each explored in every way that C11 lets it run.
 *
 * RING_SOURCE is ring.c itself or a mutant of it, included so that set-up can reach claim_free. Every scenario uses two
 * or four slots and two or three threads: enough for each slot to be used again, for every exchange to be lost to
 * somebody, and for each hand-over to be read too early if an order were too weak.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include RING_SOURCE

#include "explorer.h"

enum { RECORDS_MAX = 16, WRAPS = -1 };

static _Alignas(PRELOADER_RING_ALIGNMENT) char memory[1024];
static uint64_t doorbells[2];
static preloader_ring ring;
static uint32_t was_put[RECORDS_MAX];              /* by resource: how often a put of it succeeded */
static uint32_t was_taken[RECORDS_MAX];
static uint32_t taken[THREADS_MAX][RECORDS_MAX], taken_count[THREADS_MAX]; /* in order, by thread */
static uint32_t accepted[THREADS_MAX];             /* how many puts of a thread succeeded */

static void fresh(uint32_t capacity, uint64_t start) {
    memset(was_put, 0, sizeof was_put);
    memset(was_taken, 0, sizeof was_taken);
    memset(taken_count, 0, sizeof taken_count);
    memset(accepted, 0, sizeof accepted);
    memset(doorbells, 0, sizeof doorbells);
    preloader_ring_init_at(&ring, memory, sizeof memory, capacity, start);
}
static void fresh1(void) { fresh(1, 0); }
static void fresh2(void) { fresh(2, 0); }
static void fresh3(void) { fresh(3, 0); }
static void wrapping2(void) { fresh(2, (uint64_t)WRAPS); }

/* A record is `id` in every field, so that one mixed of two is seen. */
static preloader_record record_of(uint32_t id) {
    return (preloader_record){id, (uint16_t)(id * 3), (uint8_t)id, (uint8_t)~id, id * 5, ~id};
}

static bool put_one(int thread, uint32_t id, bool single) {
    preloader_record record = record_of(id);
    bool done = single ? preloader_ring_try_put_single(&ring, &record) : preloader_ring_try_put(&ring, &record);
    was_put[id] += done;
    accepted[thread] += done;
    return done;
}

static uint32_t put_batch(int thread, uint32_t first, uint32_t count, bool single) {
    preloader_record records[4];
    for (uint32_t i = 0; i < count; i++) records[i] = record_of(first + i);
    uint32_t done = single ? preloader_ring_put_many_single(&ring, records, count)
                           : preloader_ring_put_many(&ring, records, count);
    explorer_check(done <= count, "more was put than was given");
    for (uint32_t i = 0; i < done; i++) was_put[first + i]++;
    accepted[thread] += done;
    return done;
}

static void note_taken(int thread, const preloader_record *record) {
    uint32_t id = record->resource;
    preloader_record whole = record_of(id);
    explorer_check(id < RECORDS_MAX && !memcmp(record, &whole, sizeof whole), "a record arrived that was never put");
    if (id >= RECORDS_MAX) return;
    was_taken[id]++;
    taken[thread][taken_count[thread]++ % RECORDS_MAX] = id;
}

static bool take_one(int thread, bool single) {
    preloader_record record;
    bool done = single ? preloader_ring_try_get_single(&ring, &record) : preloader_ring_try_get(&ring, &record);
    if (done) note_taken(thread, &record);
    return done;
}

static uint32_t take_batch(int thread, uint32_t count, bool single) {
    preloader_record records[4];
    uint32_t done = single ? preloader_ring_get_many_single(&ring, records, count)
                           : preloader_ring_get_many(&ring, records, count);
    explorer_check(done <= count, "more was taken than was asked for");
    for (uint32_t i = 0; i < done && i < count; i++) note_taken(thread, &records[i]);
    return done;
}

/* Ids 1, 2, 3 are producer A's, 4, 5, 6 producer B's, 7 and on what set-up put: each in order, whoever takes. */
static void check_order(int thread) {
    uint32_t last[3] = {0, 0, 0};
    for (uint32_t i = 0; i < taken_count[thread]; i++) {
        uint32_t id = taken[thread][i], producer = (id - 1) / 3 > 2 ? 2 : (id - 1) / 3;
        explorer_check(id > last[producer], "one producer's records were taken out of order");
        last[producer] = id;
    }
}

/* What was put is taken once, now at the latest; a thread takes in order; then the ring takes as many as its limit. */
static void check_exactly_once(void) {
    uint32_t held = preloader_ring_length(&ring), left = 0, most = preloader_ring_limit(&ring);
    while (left <= RECORDS_MAX && take_one(0, false)) left++;
    explorer_check(held == left, "length is not what can be taken");
    for (uint32_t id = 0; id < RECORDS_MAX; id++) {
        explorer_check(was_taken[id] >= was_put[id], "a record was lost");
        explorer_check(was_taken[id] <= was_put[id], "a record was taken twice");
    }
    for (int thread = 0; thread < THREADS_MAX; thread++) check_order(thread);
    uint32_t room_for = 0;
    while (room_for <= most && put_one(0, 0, false)) room_for++;
    explorer_check(room_for == most, "an empty ring takes more or fewer than its limit");
}

/* Two producers meet: both claim, the consumer sees any of it. */
static void two_producers(int thread) {
    if (thread == 0) put_one(0, 1, false);
    if (thread == 1) put_one(1, 4, false);
    if (thread == 2) take_one(2, false), take_one(2, false);
}
/* Two consumers meet over two records and a third that is being put, in the slot of the first. */
static void two_consumers(int thread) {
    if (thread == 0) put_one(0, 1, false), put_one(0, 2, false);
    if (thread > 0) take_one(thread, false);
}
static void half_full(void) {
    fresh2();
    put_one(3, 7, false);
}
/* A slot is used three times: the consumer's release must reach the producer of the next lap. */
static void laps(int thread) {
    if (thread == 0) put_one(0, 1, false), put_one(0, 2, false), put_one(0, 3, false);
    if (thread == 1) take_one(1, false), take_one(1, false), take_one(1, false);
}
static void laps_single(int thread) {
    if (thread == 0) put_one(0, 1, true), put_one(0, 2, true), put_one(0, 3, true);
    if (thread == 1) take_one(1, true), take_one(1, true), take_one(1, true);
}
static void batches(int thread) {
    if (thread == 0) put_batch(0, 1, 2, false), put_batch(0, 3, 1, false);
    if (thread == 1) take_batch(1, 3, false), take_batch(1, 2, false);
}
static void batches_single(int thread) {
    if (thread == 0) put_batch(0, 1, 2, true), put_batch(0, 3, 1, true);
    if (thread == 1) take_batch(1, 3, true), take_batch(1, 2, true);
}
static void batches_meet(int thread) {
    if (thread == 0) put_batch(0, 1, 2, false);
    if (thread == 1) put_batch(1, 4, 2, false);
    if (thread == 2) take_batch(2, 3, false);
}
static void batches_taken_by_two(int thread) {
    if (thread == 0) put_batch(0, 1, 2, false);
    if (thread > 0) take_batch(thread, 2, false);
}
static void many_producers_one_consumer(int thread) {
    if (thread == 0) put_one(0, 1, false);
    if (thread == 1) put_one(1, 4, false);
    if (thread == 2) take_one(2, true), take_one(2, true);
}
/* One place: of the two puts without a take between them one is refused. */
static void one_place(int thread) {
    put_one(thread, thread ? 4 : 1, false);
}
static void check_one_place(void) {
    explorer_check(accepted[0] + accepted[1] == 1, "the limit of one record was exceeded, or nobody got in");
    check_exactly_once();
}
static void one_place_contended(int thread) {
    if (thread == 0) put_one(0, 1, false);
    if (thread == 1) put_one(1, 4, false);
    if (thread == 2) take_one(2, false);
}
static void check_limit_kept(void) {
    uint32_t in = accepted[0] + accepted[1], out = taken_count[2];
    explorer_check(in - out <= 1, "the limit of one record was exceeded");
    check_exactly_once();
}
/* The limit falls to one while somebody puts: what is in stays, and nothing gets lost. */
static void limit_falls(int thread) {
    if (thread == 0) put_one(0, 1, false), put_one(0, 2, false);
    if (thread == 1) explorer_check(preloader_ring_set_limit(&ring, 1) == 1, "the limit was not set");
    if (thread == 2) take_one(2, false);
}
/* Length, from outside, while others put and take. */
static void measured(int thread) {
    if (thread == 0) put_one(0, 1, false), put_one(0, 2, false), put_one(0, 3, false);
    if (thread == 1) take_one(1, false), take_one(1, false);
    if (thread == 2) explorer_check(preloader_ring_length(&ring) <= 2, "length exceeds the capacity");
}
/* A look from outside, while others put and take: nobody has damaged anything. */
static void looked_at(int thread) {
    uint64_t position;
    if (thread == 0) put_one(0, 1, false), put_one(0, 2, false);
    if (thread == 1) take_one(1, false), take_one(1, false);
    if (thread == 2)
        explorer_check(preloader_ring_look(&ring, &position) != PRELOADER_FRONT_DAMAGED, "a sound ring looks damaged");
}
/* The same for who attaches. */
static void attached_to(int thread) {
    preloader_ring mine;
    if (thread == 0) put_one(0, 1, false), put_one(0, 2, false), put_one(0, 3, false);
    if (thread == 1) take_one(1, false), take_one(1, false);
    if (thread == 2)
        explorer_check(preloader_ring_attach(&mine, memory, sizeof memory) == PRELOADER_RING_OK,
                       "a sound ring is refused");
}

/* Takes `count` records, sleeping where there is none. A lost wake-up is a deadlock. */
static void sleeper(int thread, uint32_t bit, uint32_t count) {
    while (count) {
        uint32_t got = take_one(thread, false);
        count -= got;
        if (!got && preloader_ring_arm(&ring, 1u << bit)) explorer_wait(&doorbells[bit]);
    }
}
static void post(int thread, uint32_t id) {
    put_one(thread, id, false);
    uint32_t bits = preloader_ring_wake(&ring);
    for (int bit = 0; bit < 2; bit++)
        if (bits >> bit & 1) explorer_ring(&doorbells[bit]);
}
static void wake_one(int thread) {
    if (thread == 0) post(0, 1);
    if (thread == 1) sleeper(1, 0, 1);
}
static void wake_by_two(int thread) {
    if (thread == 0) post(0, 1);
    if (thread == 1) post(1, 4);
    if (thread == 2) sleeper(2, 0, 2);
}
static void wake_again(int thread) {
    if (thread == 0) post(0, 1), post(0, 2);
    if (thread == 1) sleeper(1, 0, 2);
}
/* Two sleepers with a bit each, of which one gives up: the other must still be woken. */
static void wake_past_quitter(int thread) {
    if (thread == 0) post(0, 1);
    if (thread == 1) sleeper(1, 0, 1);
    if (thread == 2 && preloader_ring_arm(&ring, 2)) {
        if (!preloader_ring_disarm(&ring, 2)) explorer_wait(&doorbells[1]);
    }
}

/* A producer died after its claim, before `skip`: of two who clear it away one succeeds, and a live producer and a
 * consumer are not disturbed. */
static bool skipped[THREADS_MAX];
static void claimed_by_the_dead(void) {
    uint64_t position;
    fresh2();
    memset(skipped, 0, sizeof skipped);
    claim_free(&ring, &position, 1, false);
}
static void clear_away(int thread) {
    uint64_t position;
    if (thread < 2 && preloader_ring_look(&ring, &position) == PRELOADER_FRONT_CLAIMED && position == 0)
        skipped[thread] = preloader_ring_skip(&ring, position);
    if (thread == 2) put_one(2, 1, false), take_one(2, false);
}
static void check_cleared(void) {
    explorer_check(skipped[0] + skipped[1] == 1, "not exactly one skip succeeded");
    check_exactly_once();
}
/* A position that is not the oldest, or not there yet, is refused while others put and take. */
static void skip_wrongly(int thread) {
    if (thread == 0) put_one(0, 1, false), take_one(0, false), put_one(0, 2, false);
    if (thread == 1) explorer_check(!preloader_ring_skip(&ring, 7), "a position was skipped that is not the oldest");
}
/* The producer dies while it fills its slot; who learns of its death skips that slot, which a third then fills. */
static uint64_t dead_at;
static void nobody_dead(void) {
    fresh2();
    dead_at = UINT64_MAX;
}
static void skip_the_dead(void) {
    uint64_t position;
    if (preloader_ring_look(&ring, &position) == PRELOADER_FRONT_CLAIMED && position == dead_at)
        preloader_ring_skip(&ring, position);
}
static void die_filling(int thread) {
    if (thread == 0) {
        preloader_record half = record_of(15);
        if (claim_free(&ring, &dead_at, 1, false)) slot_of(&ring, dead_at)->record = half;
        explorer_ring(&doorbells[0]); /* what the system tells of a death */
    }
    if (thread == 1) explorer_wait(&doorbells[0]), skip_the_dead();
    if (thread == 2) put_one(2, 1, false), put_one(2, 2, false);
}
static void check_after_death(void) {
    preloader_record record;
    if (preloader_ring_try_get(&ring, &record)) note_taken(3, &record); /* one that was put before the dead one's */
    skip_the_dead();
    check_exactly_once();
}

/* Who attaches while another still makes the ring finds none, or a whole one. */
static void nothing_yet(void) {
    fresh2();
    memset(memory, 0, sizeof memory);
}
static void attach_early(int thread) {
    preloader_ring mine;
    if (thread == 0) preloader_ring_init(&mine, memory, sizeof memory, 2);
    if (thread == 1 && preloader_ring_attach(&mine, memory, sizeof memory) == PRELOADER_RING_OK) put_one(1, 4, false);
}

static const scenario scenarios[] = {
    {"two producers, one consumer", 3, fresh2, two_producers, check_exactly_once},
    {"two producers, a consumer alone on its side", 3, fresh2, many_producers_one_consumer, check_exactly_once},
    {"two consumers, one producer", 3, half_full, two_consumers, check_exactly_once},
    {"a slot used three times", 2, fresh2, laps, check_exactly_once},
    {"a slot used three times, positions wrapping", 2, wrapping2, laps, check_exactly_once},
    {"a slot used three times, one thread a side", 2, fresh2, laps_single, check_exactly_once},
    {"batches", 2, fresh2, batches, check_exactly_once},
    {"batches, one thread a side", 2, fresh2, batches_single, check_exactly_once},
    {"batches, capacity 3", 2, fresh3, batches, check_exactly_once},
    {"one place, two producers", 2, fresh1, one_place, check_one_place},
    {"one place, two producers, one consumer", 3, fresh1, one_place_contended, check_limit_kept},
    {"the limit falls", 3, fresh2, limit_falls, check_exactly_once},
    {"length from outside", 3, fresh2, measured, check_exactly_once},
    {"a sleeper and a poster", 2, fresh2, wake_one, check_exactly_once},
    {"a skip of what is not the oldest", 2, fresh2, skip_wrongly, check_exactly_once},
    {"a producer dies while it fills its slot", 3, nobody_dead, die_filling, check_after_death},
    {"attached while it is made", 2, nothing_yet, attach_early, check_exactly_once},
    /* from here on, hundreds of thousands of states each */
    {"two take batches", 3, fresh2, batches_taken_by_two, check_exactly_once},
    {"two batches meet", 3, fresh2, batches_meet, check_exactly_once},
    {"a look from outside", 3, fresh2, looked_at, check_exactly_once},
    {"attached in use", 3, half_full, attached_to, check_exactly_once},
    {"a sleeper woken twice", 2, fresh2, wake_again, check_exactly_once},
    {"a sleeper and two posters", 3, fresh2, wake_by_two, check_exactly_once},
    {"two sleepers, one of which gives up", 3, fresh2, wake_past_quitter, check_exactly_once},
    {"two clear away after a dead producer", 3, claimed_by_the_dead, clear_away, check_cleared},
};

/* Explores all scenarios, or those whose names contain the first argument; the second limits the states of each. */
int main(int count, char **arguments) {
    const char *only = count > 1 ? arguments[1] : "";
    uint64_t states_max = count > 2 ? strtoull(arguments[2], NULL, 10) : 20000000, states = 0;
    int explored = 0, limited = 0;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (!strstr(scenarios[i].name, only)) continue;
        explorer_forget();
        explorer_share(memory, sizeof memory);
        explorer_share(doorbells, sizeof doorbells);
        verdict result = explore(&scenarios[i], states_max);
        if (getenv("EXPLORER_VERBOSE"))
            printf("%s: %llu states, %llu executions%s\n", scenarios[i].name, (unsigned long long)result.states,
                   (unsigned long long)result.executions, result.exhausted ? "" : ", not exhausted");
        if (result.failure) {
            printf("explorer: %s: %s\n", scenarios[i].name, result.failure);
            explorer_trace();
            return 1;
        }
        explored++;
        limited += !result.exhausted;
        states += result.states;
    }
    printf("explorer: %d scenarios, %d of them cut short, %llu states, no failure\n", explored, limited,
           (unsigned long long)states);
    return 0;
}
