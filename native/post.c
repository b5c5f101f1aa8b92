/* The producer's side of post.h: hints become records, names become rings. */
#define _POSIX_C_SOURCE 200809L

#include "post.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST_NAME = 255 }; /* NAME_MAX of Linux; macOS allows 31 */

preloader_posted preloader_post(const preloader_ring *ring, uint32_t resource, double probability, uint32_t steps,
                                uint32_t deadline_ms, uint32_t generation, uint32_t *wake) {
    if (wake) *wake = 0;
    if (!(probability >= 0.0 && probability <= 1.0) || steps < 1 || steps > UINT8_MAX) return PRELOADER_POST_INVALID;
    preloader_record record = {
        .resource = resource,
        .probability = (uint16_t)(probability * UINT16_MAX + 0.5),
        .steps = (uint8_t)steps,
        .deadline_ms = deadline_ms,
        .generation = generation,
    };
    if (!preloader_ring_try_put(ring, &record)) return PRELOADER_POST_FULL;
    if (wake) *wake = preloader_ring_wake(ring);
    return PRELOADER_POSTED;
}

static void *map(const char *name, size_t *bytes) {
    char slashed[LONGEST_NAME + 1];
    int length = snprintf(slashed, sizeof slashed, "%s%s", name[0] == '/' ? "" : "/", name);
    if (length >= (int)sizeof slashed) {
        errno = ENAMETOOLONG;
        return MAP_FAILED;
    }
    int file = shm_open(slashed, O_RDWR, 0);
    if (file < 0) return MAP_FAILED;
    struct stat about;
    void *memory = MAP_FAILED;
    if (fstat(file, &about) == 0) {
        *bytes = (size_t)about.st_size;
        memory = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    }
    int reason = errno;
    close(file); /* the mapping stays */
    errno = reason;
    return memory;
}

preloader_ring_status preloader_open(preloader_mapping *mapping, const char *name) {
    preloader_mapping made = {.bytes = 0};
    made.memory = map(name, &made.bytes);
    if (made.memory == MAP_FAILED) return PRELOADER_RING_UNMAPPED;
    preloader_ring_status status = preloader_ring_attach(&made.ring, made.memory, made.bytes);
    if (status == PRELOADER_RING_OK) {
        *mapping = made;
    } else {
        munmap(made.memory, made.bytes);
    }
    return status;
}

void preloader_close(preloader_mapping *mapping) {
    munmap(mapping->memory, mapping->bytes);
    mapping->memory = NULL;
}
