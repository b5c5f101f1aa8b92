/* The ring of ring.h, which names the algorithm and says what is guaranteed.
 *
 * How it works. Positions count up for ever, modulo 2^64; position p lives in slot p & mask. A slot's sequence is
 *
 *     p          free, for the producer that claims p
 *     p + 1      holds the record of p, for the consumer that claims p
 *     p + slots  free again, for the producer of the next lap
 *
 * A producer claims p by moving `tail` from p to p + 1, fills the slot, and publishes with sequence = p + 1; a consumer
 * claims with `head`, copies the record out, and releases the slot with sequence = p + slots. Whoever finds the
 * sequence of its turn may claim: between the look and the claim nobody else can change it, since only the owner of p
 * does, and the exchange of the cursor fails where p has been claimed since. p + 1 and p + slots must differ, so there
 * are two slots or more.
 *
 * Memory order. The record is plain memory; the sequence guards it. Publication and release of a slot are release
 * stores, looks at a sequence are acquire loads, and these pairs order every access to a record. Cursors are relaxed
 * throughout, since they hand over nothing but numbers: one that is out of date fails its exchange, or meets a sequence
 * of another turn. No fences: ThreadSanitizer cannot follow them.
 */
#include "ring.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>

static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "atomics must be free of locks and addresses");
static_assert(sizeof(_Atomic uint64_t) == 8 && sizeof(_Atomic uint32_t) == 4, "the layout is shared between compilers");

enum {
    RELAXED = memory_order_relaxed,
    ACQUIRE = memory_order_acquire,
    RELEASE = memory_order_release,
    ACQ_REL = memory_order_acq_rel
};

/* "PRELRING" in memory; a machine of the other byte order finds another number. */
static const uint64_t MAGIC = 0x474e49524c455250u;

typedef struct slot {
    _Atomic uint64_t sequence; /* whose turn it is; written by the slot's owner, release; read by all, acquire */
    preloader_record record;   /* written by the producer, read by the consumer, while it is theirs */
} slot;

static_assert(sizeof(slot) == 24, "slots are packed");

/* The cursors have 128 bytes each to themselves: Apple's lines are as long, and Intel draws lines in pairs. */
struct preloader_ring_memory {
    /* Says that the rest is made. Written last by init, release; read by attach, acquire. */
    alignas(PRELOADER_RING_ALIGNMENT) _Atomic uint64_t magic;
    uint32_t layout;   /* written by init */
    uint32_t capacity; /* written by init; 1 .. PRELOADER_RING_MAX_CAPACITY */
    /* How many records may be in the ring, 0 .. capacity. Written by set_limit, read by producers; relaxed, since
     * nothing hangs on when a new one is seen. */
    _Atomic uint32_t limit;
    /* The next position to put, never behind head nor more than `slots` before it. Written by producers, relaxed. */
    alignas(PRELOADER_RING_ALIGNMENT) _Atomic uint64_t tail;
    /* The next position to take. Written by consumers and skip, relaxed. */
    alignas(PRELOADER_RING_ALIGNMENT) _Atomic uint64_t head;
    /* The consumers that ask to be woken. Read-modify-write only, on both sides, acquire and release. */
    alignas(PRELOADER_RING_ALIGNMENT) _Atomic uint32_t armed;
    alignas(PRELOADER_RING_ALIGNMENT) slot slots[];
};

static uint32_t slots_for(uint32_t capacity) {
    uint32_t slots = 2;
    while (slots < capacity) slots *= 2;
    return slots;
}

static inline slot *slot_of(const preloader_ring *ring, uint64_t position) {
    return &ring->memory->slots[position & ring->mask];
}

static inline uint64_t turn(const preloader_ring *ring, uint64_t position) {
    return atomic_load_explicit(&slot_of(ring, position)->sequence, ACQUIRE);
}

/* --- Life -------------------------------------------------------------------------------------------------------- */

const char *preloader_ring_explain(preloader_ring_status status) {
    switch (status) {
    case PRELOADER_RING_OK: return "the ring is ready";
    case PRELOADER_RING_CAPACITY: return "a ring holds 1 to 16777216 records";
    case PRELOADER_RING_ALIGNED: return "a ring's memory begins at a multiple of 128 bytes";
    case PRELOADER_RING_SHORT: return "the memory is too short for the ring's capacity";
    case PRELOADER_RING_MAGIC: return "there is no ring in this memory, or it is not ready yet";
    case PRELOADER_RING_VERSION: return "the ring in this memory has another layout";
    case PRELOADER_RING_DAMAGED: return "the ring in this memory is damaged";
    case PRELOADER_RING_UNMAPPED: return "the ring's shared memory cannot be opened";
    }
    return "unknown status";
}

size_t preloader_ring_bytes(uint32_t capacity) {
    if (capacity < 1 || capacity > PRELOADER_RING_MAX_CAPACITY) return 0;
    return sizeof(struct preloader_ring_memory) + (size_t)slots_for(capacity) * sizeof(slot);
}

static preloader_ring_status check(const void *memory, size_t bytes, uint32_t capacity) {
    size_t needed = preloader_ring_bytes(capacity);
    if (!needed) return PRELOADER_RING_CAPACITY;
    if ((uintptr_t)memory % PRELOADER_RING_ALIGNMENT) return PRELOADER_RING_ALIGNED;
    return bytes < needed ? PRELOADER_RING_SHORT : PRELOADER_RING_OK;
}

preloader_ring_status preloader_ring_init_at(preloader_ring *ring, void *memory, size_t bytes, uint32_t capacity,
                                             uint64_t start) {
    preloader_ring_status status = check(memory, bytes, capacity);
    if (status != PRELOADER_RING_OK) return status;
    preloader_ring made = {.memory = memory, .capacity = capacity, .mask = slots_for(capacity) - 1};
    struct preloader_ring_memory *shared = made.memory;
    atomic_store_explicit(&shared->magic, 0, RELAXED); /* who attaches too early meets no plain store */
    memset((char *)memory + sizeof shared->magic, 0, preloader_ring_bytes(capacity) - sizeof shared->magic);
    shared->layout = PRELOADER_RING_LAYOUT;
    shared->capacity = capacity;
    atomic_init(&shared->limit, capacity);
    atomic_init(&shared->tail, start);
    atomic_init(&shared->head, start);
    atomic_init(&shared->armed, 0);
    for (uint64_t at = start; at - start <= made.mask; at++) atomic_init(&slot_of(&made, at)->sequence, at);
    atomic_store_explicit(&shared->magic, MAGIC, RELEASE);
    *ring = made;
    return PRELOADER_RING_OK;
}

preloader_ring_status preloader_ring_init(preloader_ring *ring, void *memory, size_t bytes, uint32_t capacity) {
    return preloader_ring_init_at(ring, memory, bytes, capacity, 0);
}

/* Say whether limit and cursors cannot be a ring's, though others may be using it. Cursors order nothing, so a load might
 * be out of date; a read-modify-write reads the newest: a head not older than the first look at tail, and a tail not
 * older than that head. */
static bool contradicts(const preloader_ring *ring) {
    struct preloader_ring_memory *shared = ring->memory;
    if (atomic_load_explicit(&shared->limit, RELAXED) > ring->capacity) return true;
    uint64_t before = atomic_load_explicit(&shared->tail, RELAXED);
    uint64_t head = atomic_fetch_add_explicit(&shared->head, 0, RELAXED);
    uint64_t after = atomic_fetch_add_explicit(&shared->tail, 0, RELAXED);
    return (int64_t)(before - head) > (int64_t)ring->mask + 1 || (int64_t)(after - head) < 0;
}

preloader_ring_status preloader_ring_attach(preloader_ring *ring, void *memory, size_t bytes) {
    struct preloader_ring_memory *shared = memory;
    if ((uintptr_t)memory % PRELOADER_RING_ALIGNMENT) return PRELOADER_RING_ALIGNED;
    if (bytes < sizeof *shared) return PRELOADER_RING_SHORT;
    if (atomic_load_explicit(&shared->magic, ACQUIRE) != MAGIC) return PRELOADER_RING_MAGIC;
    if (shared->layout != PRELOADER_RING_LAYOUT) return PRELOADER_RING_VERSION;
    uint32_t capacity = *(volatile uint32_t *)&shared->capacity; /* read once: another process might change it */
    preloader_ring_status status = check(memory, bytes, capacity);
    if (status != PRELOADER_RING_OK) return status == PRELOADER_RING_CAPACITY ? PRELOADER_RING_DAMAGED : status;
    preloader_ring found = {.memory = shared, .capacity = capacity, .mask = slots_for(capacity) - 1};
    if (contradicts(&found)) return PRELOADER_RING_DAMAGED;
    *ring = found;
    return PRELOADER_RING_OK;
}

/* --- Putting ----------------------------------------------------------------------------------------------------- */

/* Return how many of `count` records the limit leaves room for at `position`. Where the limit is all the slots, the
 * sequences say as much, and the consumers' line is left alone. A head that is out of date errs towards less room. */
static inline uint32_t room(const preloader_ring *ring, uint64_t position, uint32_t count) {
    uint32_t limit = atomic_load_explicit(&ring->memory->limit, RELAXED);
    if (limit > ring->mask) return count;
    uint64_t head = atomic_load_explicit(&ring->memory->head, RELAXED);
    int64_t left = (int64_t)(limit - (position - head)); /* modulo 2^64: no head that somebody wrote overflows it */
    return left <= 0 ? 0 : left < count ? (uint32_t)left : count;
}

/* Return how many of `count` slots from `position` on have the sequence of their turn, `stage` after their position. */
static inline uint32_t ready(const preloader_ring *ring, uint64_t position, uint32_t count, uint64_t stage) {
    uint32_t run = 0;
    while (run < count && turn(ring, position + run) == position + run + stage) run++;
    return run;
}

/* Move a cursor on from `at`, or find where it is by now. On success `at` is left alone, since a slot's address that
 * came out of the exchange would have to wait for it: that took two fifths of a put and get. */
static inline bool move(_Atomic uint64_t *cursor, uint64_t *at, uint32_t by) {
    uint64_t seen = *at;
    if (atomic_compare_exchange_weak_explicit(cursor, &seen, *at + by, RELAXED, RELAXED)) return true;
    *at = seen;
    return false;
}

/* Claim up to `count` free slots; `position` becomes the first. */
static inline uint32_t claim_free(const preloader_ring *ring, uint64_t *position, uint32_t count, bool single) {
    _Atomic uint64_t *tail = &ring->memory->tail;
    uint64_t at = atomic_load_explicit(tail, RELAXED);
    for (;;) {
        uint32_t run = ready(ring, at, room(ring, at, count), 0);
        if (!run) { /* full, unless others have moved on */
            uint64_t now = atomic_load_explicit(tail, RELAXED);
            if (single || now == at) return 0;
            at = now;
        } else if (single) {
            atomic_store_explicit(tail, at + run, RELAXED);
            *position = at;
            return run;
        } else if (move(tail, &at, run)) {
            *position = at;
            return run;
        }
    }
}

static inline uint32_t put(const preloader_ring *ring, const preloader_record *records, uint32_t count, bool single) {
    uint64_t position;
    uint32_t claimed = claim_free(ring, &position, count, single);
    for (uint32_t done = 0; done < claimed; done++) {
        slot *mine = slot_of(ring, position + done);
        mine->record = records[done];
        atomic_store_explicit(&mine->sequence, position + done + 1, RELEASE);
    }
    return claimed;
}

bool preloader_ring_try_put(const preloader_ring *ring, const preloader_record *record) {
    return put(ring, record, 1, false);
}

uint32_t preloader_ring_put_many(const preloader_ring *ring, const preloader_record *records, uint32_t count) {
    return put(ring, records, count, false);
}

bool preloader_ring_try_put_single(const preloader_ring *ring, const preloader_record *record) {
    return put(ring, record, 1, true);
}

uint32_t preloader_ring_put_many_single(const preloader_ring *ring, const preloader_record *records, uint32_t count) {
    return put(ring, records, count, true);
}

/* --- Getting ----------------------------------------------------------------------------------------------------- */

/* Claim up to `count` slots that hold a record; `position` becomes the first. */
static inline uint32_t claim_held(const preloader_ring *ring, uint64_t *position, uint32_t count, bool single) {
    _Atomic uint64_t *head = &ring->memory->head;
    uint64_t at = atomic_load_explicit(head, RELAXED);
    for (;;) {
        uint32_t run = ready(ring, at, count, 1);
        if (!run) { /* empty, unless others have moved on */
            uint64_t now = atomic_load_explicit(head, RELAXED);
            if (single || now == at) return 0;
            at = now;
        } else if (single) {
            atomic_store_explicit(head, at + run, RELAXED);
            *position = at;
            return run;
        } else if (move(head, &at, run)) {
            *position = at;
            return run;
        }
    }
}

static inline uint32_t get(const preloader_ring *ring, preloader_record *records, uint32_t count, bool single) {
    uint64_t position;
    uint32_t claimed = claim_held(ring, &position, count, single);
    for (uint32_t done = 0; done < claimed; done++) {
        slot *mine = slot_of(ring, position + done);
        records[done] = mine->record;
        atomic_store_explicit(&mine->sequence, position + done + ring->mask + 1, RELEASE);
    }
    return claimed;
}

bool preloader_ring_try_get(const preloader_ring *ring, preloader_record *record) {
    return get(ring, record, 1, false);
}

uint32_t preloader_ring_get_many(const preloader_ring *ring, preloader_record *records, uint32_t count) {
    return get(ring, records, count, false);
}

bool preloader_ring_try_get_single(const preloader_ring *ring, preloader_record *record) {
    return get(ring, record, 1, true);
}

uint32_t preloader_ring_get_many_single(const preloader_ring *ring, preloader_record *records, uint32_t count) {
    return get(ring, records, count, true);
}

/* --- Size -------------------------------------------------------------------------------------------------------- */

uint32_t preloader_ring_length(const preloader_ring *ring) {
    uint64_t head = atomic_load_explicit(&ring->memory->head, RELAXED);
    uint64_t tail = atomic_load_explicit(&ring->memory->tail, RELAXED);
    int64_t length = (int64_t)(tail - head);
    return length < 0 ? 0 : length > ring->capacity ? ring->capacity : (uint32_t)length;
}

uint32_t preloader_ring_capacity(const preloader_ring *ring) {
    return ring->capacity;
}

uint32_t preloader_ring_limit(const preloader_ring *ring) {
    uint32_t limit = atomic_load_explicit(&ring->memory->limit, RELAXED);
    return limit < ring->capacity ? limit : ring->capacity;
}

uint32_t preloader_ring_set_limit(const preloader_ring *ring, uint32_t limit) {
    uint32_t set = limit < ring->capacity ? limit : ring->capacity;
    atomic_store_explicit(&ring->memory->limit, set, RELAXED);
    return set;
}

/* --- Waking ------------------------------------------------------------------------------------------------------ */

bool preloader_ring_arm(const preloader_ring *ring, uint32_t bits) {
    uint64_t position;
    atomic_fetch_or_explicit(&ring->memory->armed, bits, ACQ_REL);
    if (preloader_ring_look(ring, &position) != PRELOADER_FRONT_READY) return true;
    preloader_ring_disarm(ring, bits);
    return false;
}

uint32_t preloader_ring_disarm(const preloader_ring *ring, uint32_t bits) {
    return atomic_fetch_and_explicit(&ring->memory->armed, ~bits, ACQ_REL) & bits;
}

uint32_t preloader_ring_wake(const preloader_ring *ring) {
    return atomic_exchange_explicit(&ring->memory->armed, 0, ACQ_REL);
}

/* --- Producers that die ------------------------------------------------------------------------------------------ */

preloader_ring_front preloader_ring_look(const preloader_ring *ring, uint64_t *position) {
    uint64_t at = atomic_load_explicit(&ring->memory->head, RELAXED);
    for (;;) {
        uint64_t sequence = turn(ring, at);
        uint64_t tail = atomic_load_explicit(&ring->memory->tail, RELAXED);
        uint64_t now = atomic_load_explicit(&ring->memory->head, RELAXED);
        if (now != at) {
            at = now;
            continue;
        }
        *position = at;
        if (sequence == at + 1) return PRELOADER_FRONT_READY;
        if (sequence == at) return (int64_t)(tail - at) > 0 ? PRELOADER_FRONT_CLAIMED : PRELOADER_FRONT_EMPTY;
        /* One of an earlier turn: not put yet, or this thread sees old news, since head orders nothing. */
        bool earlier = (int64_t)(sequence - at) < 0 && ((sequence - at) & ring->mask) <= 1;
        return earlier ? PRELOADER_FRONT_EMPTY : PRELOADER_FRONT_DAMAGED;
    }
}

bool preloader_ring_skip(const preloader_ring *ring, uint64_t position) {
    uint64_t front;
    if (preloader_ring_look(ring, &front) != PRELOADER_FRONT_CLAIMED || front != position) return false;
    _Atomic uint64_t *head = &ring->memory->head;
    if (!atomic_compare_exchange_strong_explicit(head, &front, position + 1, RELAXED, RELAXED)) return false;
    atomic_store_explicit(&slot_of(ring, position)->sequence, position + ring->mask + 1, RELEASE);
    return true;
}
