/* Producers that die in the middle of a put: what they leave is seen, skipped, and the ring goes on. */
#define _DEFAULT_SOURCE
#define _DARWIN_C_SOURCE

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { TAIL_AT = 128, CAPACITY = 3, KILLS = 40 };

/* What a producer has done that died between the claim and the publication. */
static void claim_and_die(const preloader_ring *ring, uint64_t slots) {
    uint64_t tail;
    memcpy(&tail, (char *)ring->memory + TAIL_AT, sizeof tail);
    tail += slots;
    memcpy((char *)ring->memory + TAIL_AT, &tail, sizeof tail);
}

static void works(const preloader_ring *ring) {
    for (uint32_t number = 0; number < 5 * CAPACITY; number++) {
        preloader_record record = numbered(number), back;
        CHECK(preloader_ring_try_put(ring, &record));
        CHECK(preloader_ring_try_get(ring, &back) && back.resource == number && whole(&back));
    }
    preloader_record all[CAPACITY + 1] = {{0}};
    CHECK(preloader_ring_put_many(ring, all, CAPACITY + 1) == CAPACITY);
    CHECK(preloader_ring_get_many(ring, all, CAPACITY + 1) == CAPACITY);
}

static void a_claimed_slot_is_seen_and_skipped(uint64_t start) {
    preloader_ring ring = new_ring(CAPACITY, start);
    preloader_record first = numbered(1), last = numbered(2), back;
    uint64_t position;
    CHECK(preloader_ring_try_put(&ring, &first));
    claim_and_die(&ring, 1);
    CHECK(preloader_ring_try_put(&ring, &last));
    CHECK(preloader_ring_look(&ring, &position) == PRELOADER_FRONT_READY);
    CHECK(preloader_ring_get_many(&ring, &back, 1) == 1 && back.resource == 1);
    CHECK(!preloader_ring_try_get(&ring, &back) && !preloader_ring_try_get_single(&ring, &back));
    CHECK(preloader_ring_look(&ring, &position) == PRELOADER_FRONT_CLAIMED && position == start + 1);
    CHECK(preloader_ring_length(&ring) == 2);
    CHECK(!preloader_ring_skip(&ring, position - 1) && !preloader_ring_skip(&ring, position + 1));
    CHECK(preloader_ring_arm(&ring, 1));
    CHECK(preloader_ring_skip(&ring, position) && !preloader_ring_skip(&ring, position));
    CHECK(preloader_ring_try_get(&ring, &back) && back.resource == 2);
    CHECK(preloader_ring_look(&ring, &position) == PRELOADER_FRONT_EMPTY);
    works(&ring);
    free(ring.memory);
}

static void drain(const preloader_ring *ring, uint32_t *next) {
    preloader_record records[CAPACITY];
    for (uint32_t got; (got = preloader_ring_get_many(ring, records, CAPACITY));)
        for (uint32_t at = 0; at < got; at++) {
            CHECK(whole(&records[at]) && records[at].resource >= *next); /* what was skipped is missing */
            *next = records[at].resource + 1;
        }
}

static void produce_for_ever(const preloader_ring *ring) {
    for (uint32_t number = 0;;) {
        preloader_record records[2] = {numbered(number), numbered(number + 1)};
        number += preloader_ring_put_many(ring, records, 2);
    }
}

/* Killed for real, wherever it happens to be. */
static void a_killed_process_leaves_the_ring_usable(void) {
    size_t bytes = preloader_ring_bytes(CAPACITY);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);
    CHECK(memory != MAP_FAILED);
    preloader_ring ring;
    CHECK(preloader_ring_init(&ring, memory, bytes, CAPACITY) == PRELOADER_RING_OK);
    for (int kills = 0; kills < KILLS; kills++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) produce_for_ever(&ring);
        uint32_t next = 0, enough = (uint32_t)(50 + 13 * kills);
        while (next < enough) drain(&ring, &next);
        CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
        uint64_t position;
        do drain(&ring, &next);
        while (preloader_ring_look(&ring, &position) == PRELOADER_FRONT_CLAIMED && preloader_ring_skip(&ring, position));
        CHECK(preloader_ring_look(&ring, &position) == PRELOADER_FRONT_EMPTY && preloader_ring_length(&ring) == 0);
        works(&ring);
    }
    munmap(memory, bytes);
}

int main(void) {
    a_claimed_slot_is_seen_and_skipped(0);
    a_claimed_slot_is_seen_and_skipped(UINT64_MAX - 1);
    preloader_ring ring = new_ring(CAPACITY, 0);
    uint64_t position;
    claim_and_die(&ring, CAPACITY); /* in the middle of a batch */
    for (int left = CAPACITY; left; left--) {
        CHECK(preloader_ring_look(&ring, &position) == PRELOADER_FRONT_CLAIMED);
        CHECK(preloader_ring_skip(&ring, position));
    }
    works(&ring);
    free(ring.memory);
    a_killed_process_leaves_the_ring_usable();
    puts("dead producers: all as it should be");
    return 0;
}
