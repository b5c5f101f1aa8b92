/* A bounded lock-free queue of records, for many producers and many consumers: in one process or between several.
 *
 * Algorithm: Dmitry Vyukov's bounded MPMC queue (1024cores.net, "Bounded MPMC queue", 2010). Every slot carries a
 * sequence number that says whose turn it is, so a producer touches one cursor and its slot, a consumer the other
 * cursor and its slot, and neither waits for anybody. What differs from the published queue:
 *
 *   - The slots are a power of two, at least two, but a *limit* says how many records may be in the ring. It starts at
 *     the capacity, any number, and may be changed at run time, up to the capacity. It is never exceeded.
 *   - Batches: put_many and get_many take the longest run of ready slots, each slot checked, with one exchange of the
 *     cursor.
 *   - Where a side has one thread only, the _single functions move its cursor with a plain store.
 *   - No address is stored. A ring is a handle, private to the process, on memory that may be shared; attach trusts
 *     nothing that it finds there, and no content of the memory makes any function read or write outside of it.
 *   - A slot claimed by a producer that died can be seen and skipped (front, skip).
 *   - The mask of sleeping consumers lives in the ring, so that C producers and Python consumers share one coalesced
 *     wake-up (arm, disarm, wake).
 *
 * Guarantees: what one producer put is taken in that order; every record is taken once; get after a put that happened
 * before it sees the record, unless an earlier put is still under way. try_put may refuse, and try_get find nothing,
 * because of a record that is just being put or taken by somebody else. Nothing blocks, allocates or calls the system.
 * All functions may be called from any thread at any time, except where a comment says otherwise.
 */
#ifndef PRELOADER_RING_H
#define PRELOADER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PRELOADER_RING_ALIGNMENT 128u            /* of the memory that a ring lives in */
#define PRELOADER_RING_MAX_CAPACITY (1u << 24)   /* 384 MB of slots */
#define PRELOADER_RING_LAYOUT 1u                 /* of the memory; attach refuses any other */

/* A handle: which memory, and what was found valid there when it was attached. Never changed afterwards, so threads
 * share it; it may be copied. The fields are private. */
typedef struct preloader_ring {
    struct preloader_ring_memory *memory;
    uint32_t capacity;
    uint32_t mask; /* slots - 1 */
} preloader_ring;

typedef enum preloader_ring_status {
    PRELOADER_RING_OK = 0,
    PRELOADER_RING_CAPACITY,  /* not 1 .. PRELOADER_RING_MAX_CAPACITY */
    PRELOADER_RING_ALIGNED,   /* the memory does not begin at a multiple of PRELOADER_RING_ALIGNMENT */
    PRELOADER_RING_SHORT,     /* the memory is too short for the capacity */
    PRELOADER_RING_MAGIC,     /* attach: there is no ring here, or it is not ready yet */
    PRELOADER_RING_VERSION,   /* attach: a ring of another layout */
    PRELOADER_RING_DAMAGED,   /* attach: the header contradicts itself */
    PRELOADER_RING_UNMAPPED   /* preloader_open: there is no such shared memory, or it may not be opened */
} preloader_ring_status;

/* Say in one sentence what a status means. */
const char *preloader_ring_explain(preloader_ring_status status);

/* --- Life -------------------------------------------------------------------------------------------------------- */

/* Return how many bytes a ring needs, 0 where the capacity is out of range. */
size_t preloader_ring_bytes(uint32_t capacity);

/* Make an empty ring in memory of the caller's, who alone uses it until this returns, and keeps it until nobody uses
 * the ring any more. There is nothing to destroy. `ring` is set only where the result is PRELOADER_RING_OK. */
preloader_ring_status preloader_ring_init(preloader_ring *ring, void *memory, size_t bytes, uint32_t capacity);

/* The same with both cursors at `start`, so that a test reaches their wrap-around. */
preloader_ring_status preloader_ring_init_at(preloader_ring *ring, void *memory, size_t bytes, uint32_t capacity,
                                             uint64_t start);

/* Make a handle of a ring that somebody else made, usually in another process. The memory is not trusted. */
preloader_ring_status preloader_ring_attach(preloader_ring *ring, void *memory, size_t bytes);

/* --- Putting ----------------------------------------------------------------------------------------------------- */

/* Put one record; false where the ring is full. */
bool preloader_ring_try_put(const preloader_ring *ring, const preloader_record *record);

/* Put the first of `count` records, as many as there is room for; return how many. They stay together and in order. */
uint32_t preloader_ring_put_many(const preloader_ring *ring, const preloader_record *records, uint32_t count);

/* The same, faster, where no other thread puts at the same time. */
bool preloader_ring_try_put_single(const preloader_ring *ring, const preloader_record *record);
uint32_t preloader_ring_put_many_single(const preloader_ring *ring, const preloader_record *records, uint32_t count);

/* --- Getting ----------------------------------------------------------------------------------------------------- */

/* Take the oldest record; false where there is none. */
bool preloader_ring_try_get(const preloader_ring *ring, preloader_record *record);

/* Take up to `count` records, oldest first; return how many. */
uint32_t preloader_ring_get_many(const preloader_ring *ring, preloader_record *records, uint32_t count);

/* The same, faster, where no other thread takes (gets or skips) at the same time. */
bool preloader_ring_try_get_single(const preloader_ring *ring, preloader_record *record);
uint32_t preloader_ring_get_many_single(const preloader_ring *ring, preloader_record *records, uint32_t count);

/* --- Size -------------------------------------------------------------------------------------------------------- */

/* Return how many records are in the ring: exact while nobody else uses it, else of some moment close by. Records that
 * are being put count, and it is never more than the capacity. */
uint32_t preloader_ring_length(const preloader_ring *ring);

uint32_t preloader_ring_capacity(const preloader_ring *ring);

/* Return how many records may be in the ring now. */
uint32_t preloader_ring_limit(const preloader_ring *ring);

/* Let so many records be in the ring, at most the capacity, 0 to refuse every put; return what was set. What is in the
 * ring stays; where that is more than the new limit, puts are refused until enough was taken. Puts under way in other
 * threads may still use the limit before. */
uint32_t preloader_ring_set_limit(const preloader_ring *ring, uint32_t limit);

/* --- Waking ------------------------------------------------------------------------------------------------------ */

/* Up to 32 consumers may sleep, each with a bit of its own; what wakes them (an eventfd, a pipe, a condition) is the
 * caller's. The one before sleeping:
 *
 *     if (preloader_ring_arm(ring, bit)) sleep; else take, since there is something
 *
 * and the other after each put or batch of puts:
 *
 *     for each bit of preloader_ring_wake(ring): wake that consumer
 *
 * Both sides exchange the same word, so that one of them comes second and sees what the other did before: either the
 * consumer finds the record, or the producer finds the bit. However many records are put while a consumer sleeps or is
 * being woken, it is woken once. Who was woken takes until it finds nothing, then arms again. */

/* Ask to be woken at the next put; true where there is nothing to take, so that the caller may sleep, and false, with
 * the bits withdrawn, where there is something. */
bool preloader_ring_arm(const preloader_ring *ring, uint32_t bits);

/* Withdraw: a consumer that no longer sleeps, for whatever reason. Return those bits that nobody had taken yet; for the
 * others a wake-up is on its way. */
uint32_t preloader_ring_disarm(const preloader_ring *ring, uint32_t bits);

/* After a put: return the consumers to wake, each for the caller alone to wake; mostly 0. */
uint32_t preloader_ring_wake(const preloader_ring *ring);

/* --- Producers that die ------------------------------------------------------------------------------------------ */

/* A producer claims its slots first, then fills them and publishes each. One that dies (or is stopped) between leaves
 * claimed slots, and nothing behind them can be taken. */
typedef enum preloader_ring_front {
    PRELOADER_FRONT_EMPTY,   /* nothing was put */
    PRELOADER_FRONT_READY,   /* the oldest record can be taken */
    PRELOADER_FRONT_CLAIMED, /* the oldest record is being put, since how long nobody knows */
    PRELOADER_FRONT_DAMAGED  /* somebody wrote to the memory who should not have: make a new ring */
} preloader_ring_front;

/* Look at the oldest slot; `position` becomes its number. A position that is claimed now, and still claimed after
 * longer than any put can take, is stalled. */
preloader_ring_front preloader_ring_look(const preloader_ring *ring, uint64_t *position);

/* Give up the record that was being put at `position`, where it is still the oldest, and claimed. True where this call
 * did so; the next slot is then the oldest, and may need the same.
 *
 * Safe where the producer that claimed it will never run again, which the caller has to know: every process that had
 * the ring attached for putting when the position was first seen claimed has ended since, or all its puts of that time
 * have returned. A producer that was only slow would afterwards publish into a slot that may be somebody else's: a
 * record might then be lost, doubled or mixed of two, and the ring might be seen as damaged; nothing outside of it is
 * touched.
 *
 * A *consumer* that dies while it takes leaves a slot that stays occupied; once the producers come round to it the ring
 * is full for good (look says EMPTY while length is 0 and puts are refused). Make a new ring then. */
bool preloader_ring_skip(const preloader_ring *ring, uint64_t position);

#ifdef __cplusplus
}
#endif

#endif
