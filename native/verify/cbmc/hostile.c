/* For CBMC: whatever the shared memory holds, no function reads or writes outside of it.
 *
 * The memory's content is arbitrary, as after another process has scribbled over it; so are the capacity and the order of
 * the calls. CBMC checks every pointer and every array bound of ring.c against the memory's length.
 */
#include <stdlib.h>

#include RING_SOURCE

enum { SLOTS = 2, BATCH = 2 };

_Bool nondet_bool(void);
uint32_t nondet_u32(void);
uint64_t nondet_u64(void);

int main(void) {
    size_t bytes = preloader_ring_bytes(SLOTS);
    struct preloader_ring_memory *memory = malloc(bytes); /* its content is arbitrary */
    __CPROVER_assume(memory != NULL);
    preloader_ring ring;
    if (preloader_ring_attach(&ring, memory, bytes) != PRELOADER_RING_OK) return 0;
    __CPROVER_assert(ring.capacity >= 1 && ring.capacity <= SLOTS, "attach takes over what fits only");
    __CPROVER_havoc_object(memory); /* what was attached is written over */
    preloader_record records[BATCH];
    uint64_t position = nondet_u64();
    uint32_t done = 0;
    switch (nondet_u32() % 8) {
    case 0: done = preloader_ring_put_many(&ring, records, BATCH); break;
    case 1: done = preloader_ring_put_many_single(&ring, records, BATCH); break;
    case 2: done = preloader_ring_get_many(&ring, records, BATCH); break;
    case 3: done = preloader_ring_get_many_single(&ring, records, BATCH); break;
    case 4: preloader_ring_look(&ring, &position); break;
    case 5: preloader_ring_skip(&ring, position); break;
    case 6: preloader_ring_arm(&ring, nondet_u32()); break;
    case 7: preloader_ring_set_limit(&ring, nondet_u32()); break;
    }
    __CPROVER_assert(done <= BATCH, "no batch is longer than asked for");
    __CPROVER_assert(preloader_ring_limit(&ring) <= ring.capacity, "the limit stays within the capacity");
    __CPROVER_assert(preloader_ring_length(&ring) <= ring.capacity, "the length stays within the capacity");
    return 0;
}
