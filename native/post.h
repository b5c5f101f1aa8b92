/* Posting hints from C, Swift or any language that calls C: from an audio callback, from another process, without the
 * GIL. `preloader_post` never blocks, allocates or calls the system, so a real-time thread may call it.
 */
#ifndef PRELOADER_POST_H
#define PRELOADER_POST_H

#include "ring.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum preloader_posted {
    PRELOADER_POSTED = 0,
    PRELOADER_POST_FULL,   /* the ring is full, or its limit was lowered: drop the hint, or post it later */
    PRELOADER_POST_INVALID /* the probability is not 0 .. 1, or steps is not 1 .. 255 */
} preloader_posted;

/* Say that a resource will be needed. Any thread, any number of them.
 *
 * resource      its id in the manager's table of keys
 * probability   that it will be needed, 0 to 1
 * steps         how many items ahead, 1 to 255
 * deadline_ms   when the hint is void, in milliseconds of the manager's clock modulo 2^32; 0 for never
 * generation    the manager's; hints of an older one are skipped
 * wake          becomes the consumers to wake, as of preloader_ring_wake; NULL where the consumer polls
 */
preloader_posted preloader_post(const preloader_ring *ring, uint32_t resource, double probability, uint32_t steps,
                                uint32_t deadline_ms, uint32_t generation, uint32_t *wake);

/* A ring in POSIX shared memory, as Python's multiprocessing.shared_memory makes it. */
typedef struct preloader_mapping {
    preloader_ring ring;
    void *memory;
    size_t bytes;
} preloader_mapping;

/* Attach to the ring in the shared memory of that name, with or without the leading slash. Where the result is
 * PRELOADER_RING_UNMAPPED, errno says why. `mapping` is set only where it is PRELOADER_RING_OK. */
preloader_ring_status preloader_open(preloader_mapping *mapping, const char *name);

/* Let go of it, when no thread of this process uses the ring any more. The ring itself stays. */
void preloader_close(preloader_mapping *mapping);

#ifdef __cplusplus
}
#endif

#endif
