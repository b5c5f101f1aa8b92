/* One hint on its way to a tier: the record that crosses the ring, and the layout that every ring agrees on.
 *
 * Plain numbers, little-endian, 16 bytes, no padding: a record holds no reference, so a thread without the GIL may
 * write one, and a ring of them may live in shared memory. preloader/ring/twin.py packs the same bytes; a test compiles
 * this header and compares.
 */
#ifndef PRELOADER_RECORD_H
#define PRELOADER_RECORD_H

#include <assert.h>
#include <stdint.h>

typedef struct preloader_record {
    uint32_t resource;    /* id in the manager's table of keys */
    uint16_t probability; /* 0 .. 65535 stands for 0 .. 1 */
    uint8_t steps;        /* how many items ahead, 1 .. 255 */
    uint8_t flags;        /* reserved, 0 */
    uint32_t deadline_ms; /* the hint is void from then on, on the manager's clock modulo 2^32; 0: never */
    uint32_t generation;  /* older than the manager's: skipped */
} preloader_record;

static_assert(sizeof(preloader_record) == 16, "a record is 16 bytes");

#endif
