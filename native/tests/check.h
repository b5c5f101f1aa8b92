/* What the C tests share: a check that says where it failed, and rings to check. */
#ifndef PRELOADER_CHECK_H
#define PRELOADER_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "ring.h"

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* Memory for a ring, a multiple of the alignment; free it. */
static inline void *ring_memory(uint32_t capacity, size_t *bytes) {
    size_t unit = PRELOADER_RING_ALIGNMENT;
    *bytes = (preloader_ring_bytes(capacity) + unit - 1) / unit * unit;
    void *memory = aligned_alloc(unit, *bytes);
    CHECK(memory);
    return memory;
}

static inline preloader_ring new_ring(uint32_t capacity, uint64_t start) {
    preloader_ring ring;
    size_t bytes;
    void *memory = ring_memory(capacity, &bytes);
    CHECK(preloader_ring_init_at(&ring, memory, bytes, capacity, start) == PRELOADER_RING_OK);
    return ring;
}

static inline preloader_record numbered(uint32_t number) {
    preloader_record record = {number, (uint16_t)(number * 3), (uint8_t)(number | 1), 0, ~number, number * 7};
    return record;
}

/* Every field is that of `numbered`: nothing was torn. */
static inline bool whole(const preloader_record *record) {
    preloader_record same = numbered(record->resource);
    return record->probability == same.probability && record->steps == same.steps && record->flags == same.flags &&
           record->deadline_ms == same.deadline_ms && record->generation == same.generation;
}

#endif
