/* What one thread sees of the ring: bounds, order, wrap-around, batches, the limit, waking, damage. */
#include <string.h>

#include "check.h"
#include "post.h"

/* The layout that attach checks, and that the Python twin shares. */
enum { MAGIC_AT = 0, LAYOUT_AT = 8, CAPACITY_AT = 12, LIMIT_AT = 16, TAIL_AT = 128, HEAD_AT = 256, SLOTS_AT = 512 };

/* So that both 32 and 64 bits of a position wrap within a few laps. */
static const uint64_t STARTS[] = {0, UINT32_MAX - 2, UINT64_MAX - 2};
enum { START_COUNT = sizeof STARTS / sizeof *STARTS };

static bool put_one(const preloader_ring *ring, uint32_t number, bool single) {
    preloader_record record = numbered(number);
    return single ? preloader_ring_try_put_single(ring, &record) : preloader_ring_try_put(ring, &record);
}

static bool get_one(const preloader_ring *ring, uint32_t number, bool single) {
    preloader_record record;
    if (!(single ? preloader_ring_try_get_single(ring, &record) : preloader_ring_try_get(ring, &record))) return false;
    CHECK(record.resource == number && whole(&record));
    return true;
}

static uint32_t put_some(const preloader_ring *ring, uint32_t first, uint32_t count, bool single) {
    preloader_record records[32];
    for (uint32_t at = 0; at < count; at++) records[at] = numbered(first + at);
    return single ? preloader_ring_put_many_single(ring, records, count) : preloader_ring_put_many(ring, records, count);
}

static uint32_t get_some(const preloader_ring *ring, uint32_t first, uint32_t count, bool single) {
    preloader_record records[32];
    uint32_t got = single ? preloader_ring_get_many_single(ring, records, count)
                          : preloader_ring_get_many(ring, records, count);
    for (uint32_t at = 0; at < got; at++) CHECK(records[at].resource == first + at && whole(&records[at]));
    return got;
}

static void fills_and_empties(uint32_t capacity, uint64_t start, bool single) {
    preloader_ring ring = new_ring(capacity, start);
    uint32_t put = 0, got = 0;
    CHECK(preloader_ring_capacity(&ring) == capacity);
    for (int lap = 0; lap < 9; lap++) {
        CHECK(!get_one(&ring, 0, single));
        while (put - got < capacity) {
            CHECK(put_one(&ring, put++, single));
            CHECK(preloader_ring_length(&ring) == put - got);
        }
        CHECK(!put_one(&ring, put, single));
        CHECK(preloader_ring_length(&ring) == capacity);
        while (got < put) CHECK(get_one(&ring, got++, single));
        CHECK(preloader_ring_length(&ring) == 0);
    }
    free(ring.memory);
}

static void takes_what_there_is_in_batches(uint32_t capacity, uint64_t start, bool single) {
    preloader_ring ring = new_ring(capacity, start);
    uint32_t put = 0, got = 0;
    for (uint32_t count = 0; count < 24; count++) {
        uint32_t room = capacity - (put - got), fit = count < room ? count : room;
        CHECK(put_some(&ring, put, count, single) == fit);
        put += fit;
        uint32_t wanted = count * 2 / 3, held = put - got, come = wanted < held ? wanted : held;
        CHECK(get_some(&ring, got, wanted, single) == come);
        got += come;
        CHECK(preloader_ring_length(&ring) == put - got);
    }
    CHECK(get_some(&ring, got, 32, single) == put - got);
    CHECK(get_some(&ring, put, 32, single) == 0);
    free(ring.memory);
}

static void the_limit_shrinks_and_grows(uint64_t start, bool single) {
    preloader_ring ring = new_ring(5, start);
    CHECK(preloader_ring_limit(&ring) == 5);
    CHECK(put_some(&ring, 0, 4, single) == 4);
    CHECK(preloader_ring_set_limit(&ring, 2) == 2 && preloader_ring_limit(&ring) == 2);
    CHECK(preloader_ring_length(&ring) == 4);
    CHECK(!put_one(&ring, 4, single));
    CHECK(get_some(&ring, 0, 2, single) == 2);
    CHECK(!put_one(&ring, 4, single));
    CHECK(get_one(&ring, 2, single));
    CHECK(put_some(&ring, 4, 3, single) == 1);
    CHECK(preloader_ring_set_limit(&ring, 4) == 4);
    CHECK(put_some(&ring, 5, 9, single) == 2);
    CHECK(preloader_ring_set_limit(&ring, 99) == 5 && preloader_ring_limit(&ring) == 5);
    CHECK(put_some(&ring, 7, 9, single) == 1);
    CHECK(preloader_ring_set_limit(&ring, 0) == 0);
    CHECK(get_some(&ring, 3, 32, single) == 5);
    CHECK(!put_one(&ring, 8, single));
    CHECK(preloader_ring_set_limit(&ring, 1) == 1 && put_one(&ring, 8, single) && !put_one(&ring, 9, single));
    uint32_t above = 99; /* as another process might write it */
    memcpy((char *)ring.memory + LIMIT_AT, &above, sizeof above);
    CHECK(preloader_ring_limit(&ring) == 5);
    free(ring.memory);
}

static void init_refuses(void) {
    preloader_ring ring;
    size_t bytes;
    char *memory = ring_memory(3, &bytes);
    CHECK(preloader_ring_bytes(0) == 0 && preloader_ring_bytes(PRELOADER_RING_MAX_CAPACITY + 1) == 0);
    CHECK(preloader_ring_bytes(PRELOADER_RING_MAX_CAPACITY) > 0);
    CHECK(preloader_ring_bytes(1) == preloader_ring_bytes(2) && preloader_ring_bytes(3) == preloader_ring_bytes(4));
    CHECK(preloader_ring_init(&ring, memory, bytes, 0) == PRELOADER_RING_CAPACITY);
    CHECK(preloader_ring_init(&ring, memory, bytes, UINT32_MAX) == PRELOADER_RING_CAPACITY);
    CHECK(preloader_ring_init(&ring, memory + 64, bytes - 64, 3) == PRELOADER_RING_ALIGNED);
    CHECK(preloader_ring_init(&ring, memory, preloader_ring_bytes(3) - 1, 3) == PRELOADER_RING_SHORT);
    CHECK(preloader_ring_init(&ring, memory, preloader_ring_bytes(3), 3) == PRELOADER_RING_OK);
    free(memory);
}

static preloader_ring_status attach_with(size_t at, const void *value, size_t size, size_t bytes_less) {
    preloader_ring ring = new_ring(8, 0), other;
    put_some(&ring, 0, 3, false);
    if (size) memcpy((char *)ring.memory + at, value, size);
    preloader_ring_status status = preloader_ring_attach(&other, ring.memory, preloader_ring_bytes(8) - bytes_less);
    if (status == PRELOADER_RING_OK) CHECK(get_some(&other, 0, 9, false) == 3);
    free(ring.memory);
    return status;
}

static void attach_trusts_nothing(void) {
    uint32_t zero = 0, one = 1, huge = UINT32_MAX, two = 2, nine = 9, sixteen = 16;
    uint64_t four = 4, far = 9, before = UINT64_MAX;
    CHECK(attach_with(0, NULL, 0, 0) == PRELOADER_RING_OK);
    CHECK(attach_with(0, NULL, 0, 1) == PRELOADER_RING_SHORT);
    CHECK(attach_with(0, NULL, 0, preloader_ring_bytes(8) - 100) == PRELOADER_RING_SHORT);
    CHECK(attach_with(MAGIC_AT, &one, 1, 0) == PRELOADER_RING_MAGIC);
    CHECK(attach_with(LAYOUT_AT, &two, 4, 0) == PRELOADER_RING_VERSION);
    CHECK(attach_with(CAPACITY_AT, &zero, 4, 0) == PRELOADER_RING_DAMAGED);
    CHECK(attach_with(CAPACITY_AT, &huge, 4, 0) == PRELOADER_RING_DAMAGED);
    CHECK(attach_with(CAPACITY_AT, &sixteen, 4, 0) == PRELOADER_RING_SHORT);
    CHECK(attach_with(LIMIT_AT, &nine, 4, 0) == PRELOADER_RING_DAMAGED);
    CHECK(attach_with(HEAD_AT, &four, 8, 0) == PRELOADER_RING_DAMAGED);
    CHECK(attach_with(TAIL_AT, &before, 8, 0) == PRELOADER_RING_DAMAGED);
    CHECK(attach_with(TAIL_AT, &far, 8, 0) == PRELOADER_RING_DAMAGED);
    preloader_ring ring = new_ring(1, 0), other;
    CHECK(preloader_ring_attach(&other, (char *)ring.memory + 64, 4096) == PRELOADER_RING_ALIGNED);
    memset(ring.memory, 0, preloader_ring_bytes(1));
    CHECK(preloader_ring_attach(&other, ring.memory, preloader_ring_bytes(1)) == PRELOADER_RING_MAGIC);
    CHECK(preloader_ring_attach(&other, ring.memory, 100) == PRELOADER_RING_SHORT);
    free(ring.memory);
    for (int status = PRELOADER_RING_OK; status <= PRELOADER_RING_UNMAPPED + 1; status++)
        CHECK(strlen(preloader_ring_explain((preloader_ring_status)status)) > 5);
}

/* Another process may write anything at any time: every call returns, none leaves the memory. */
static void nonsense_is_survived(void) {
    for (unsigned seed = 1; seed <= 300; seed++) {
        preloader_ring ring = new_ring(4, 0);
        uint64_t position;
        srand(seed);
        char *shared = (char *)ring.memory;
        size_t bytes = preloader_ring_bytes(4);
        for (size_t at = seed % 3 ? TAIL_AT : SLOTS_AT; at < bytes; at++) shared[at] = (char)rand();
        for (int turn = 0; turn < 20; turn++) {
            preloader_record records[8];
            put_some(&ring, 0, 8, turn % 2);
            preloader_ring_get_many(&ring, records, 8);
            preloader_ring_look(&ring, &position);
            preloader_ring_skip(&ring, position);
            CHECK(preloader_ring_length(&ring) <= 4 && preloader_ring_limit(&ring) <= 4);
        }
        free(ring.memory);
    }
}

/* A head half of all positions away is neither before nor behind the tail: no arithmetic on it may overflow. */
static void a_head_far_away_is_survived(void) {
    uint64_t far = UINT64_C(1) << 63;
    preloader_ring ring = new_ring(3, 0);
    memcpy((char *)ring.memory + HEAD_AT, &far, sizeof far);
    CHECK(!put_one(&ring, 0, false) && put_some(&ring, 0, 3, false) == 0);
    CHECK(preloader_ring_length(&ring) == 0);
    free(ring.memory);
}

static void looks_at_the_front(void) {
    preloader_ring ring = new_ring(2, UINT64_MAX);
    uint64_t position, strange = 77;
    for (uint32_t lap = 0; lap < 5; lap++) {
        CHECK(preloader_ring_look(&ring, &position) == PRELOADER_FRONT_EMPTY && position == lap - UINT64_C(1));
        CHECK(put_one(&ring, lap, false));
        CHECK(preloader_ring_look(&ring, &position) == PRELOADER_FRONT_READY && position == lap - UINT64_C(1));
        CHECK(!preloader_ring_skip(&ring, position));
        CHECK(get_one(&ring, lap, false));
    }
    memcpy((char *)ring.memory + SLOTS_AT, &strange, 8);
    CHECK(preloader_ring_look(&ring, &position) == PRELOADER_FRONT_DAMAGED);
    CHECK(!put_one(&ring, 0, false) && !get_one(&ring, 0, false));
    free(ring.memory);
}

static void wakes_whom_it_has_to(void) {
    preloader_ring ring = new_ring(3, 0);
    CHECK(preloader_ring_wake(&ring) == 0);
    CHECK(preloader_ring_arm(&ring, 1) && preloader_ring_arm(&ring, 4));
    CHECK(put_one(&ring, 0, false));
    CHECK(preloader_ring_wake(&ring) == 5 && preloader_ring_wake(&ring) == 0);
    CHECK(!preloader_ring_arm(&ring, 2));
    CHECK(preloader_ring_wake(&ring) == 0);
    CHECK(get_one(&ring, 0, false));
    CHECK(preloader_ring_arm(&ring, 3));
    CHECK(preloader_ring_disarm(&ring, 1) == 1 && preloader_ring_disarm(&ring, 1) == 0);
    CHECK(preloader_ring_wake(&ring) == 2);
    free(ring.memory);
}

static void posts_hints(void) {
    preloader_ring ring = new_ring(1, 0);
    preloader_record record;
    uint32_t wake = 9;
    CHECK(preloader_post(&ring, 5, 1.01, 1, 0, 0, &wake) == PRELOADER_POST_INVALID && wake == 0);
    CHECK(preloader_post(&ring, 5, -0.01, 1, 0, 0, NULL) == PRELOADER_POST_INVALID);
    CHECK(preloader_post(&ring, 5, 0.0 / (wake + 0.0), 1, 0, 0, NULL) == PRELOADER_POST_INVALID); /* not a number */
    CHECK(preloader_post(&ring, 5, 0.5, 0, 0, 0, NULL) == PRELOADER_POST_INVALID);
    CHECK(preloader_post(&ring, 5, 0.5, 256, 0, 0, NULL) == PRELOADER_POST_INVALID);
    CHECK(preloader_ring_length(&ring) == 0);
    CHECK(preloader_ring_arm(&ring, 8));
    CHECK(preloader_post(&ring, 5, 1.0, 255, 11, 13, &wake) == PRELOADER_POSTED && wake == 8);
    CHECK(preloader_post(&ring, 5, 0.5, 1, 0, 0, &wake) == PRELOADER_POST_FULL && wake == 0);
    CHECK(preloader_ring_try_get(&ring, &record));
    CHECK(record.resource == 5 && record.probability == 65535 && record.steps == 255 && record.flags == 0);
    CHECK(record.deadline_ms == 11 && record.generation == 13);
    CHECK(preloader_post(&ring, 6, 0.0, 1, 0, 0, &wake) == PRELOADER_POSTED && wake == 0);
    free(ring.memory);
}

int main(void) {
    for (int at = 0; at < START_COUNT; at++) {
        for (int single = 0; single < 2; single++) {
            for (uint32_t capacity = 1; capacity <= 9; capacity++) {
                fills_and_empties(capacity, STARTS[at], single);
                takes_what_there_is_in_batches(capacity, STARTS[at], single);
            }
            the_limit_shrinks_and_grows(STARTS[at], single);
        }
    }
    init_refuses();
    attach_trusts_nothing();
    nonsense_is_survived();
    a_head_far_away_is_survived();
    looks_at_the_front();
    wakes_whom_it_has_to();
    posts_hints();
    puts("ring: all as it should be");
    return 0;
}
