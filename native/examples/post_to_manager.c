/* Post a hint to a running preloader from C, without Python and without a lock:
 *
 *     cc -std=c11 -Inative native/examples/post_to_manager.c native/post.c native/ring.c -o post_to_manager
 *     ./post_to_manager FOLDER component:tts 0.9
 *
 * FOLDER is the path of the channel that PreloadManager.hint_channel opened. An audio callback would open the channel once
 * and keep it; what it then does for each hint neither blocks nor allocates, and is one system call where the manager
 * sleeps. docs/ring.md describes the layout.
 */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "post.h"

typedef struct header { /* what the file begins with */
    char magic[8];
    uint32_t version;
    uint32_t generation;
    int64_t epoch_ns;
    uint64_t ring_offset, ring_bytes, keys_offset, keys_bytes;
    uint32_t keys;
} header;

typedef struct channel {
    header found; /* as it was when it was checked: somebody might write over it later */
    const volatile uint32_t *generation;
    const unsigned char *keys;
    preloader_ring ring;
    int wake_fd;
} channel;

static void *map(const char *folder, size_t *length) {
    char path[4096];
    struct stat found;
    snprintf(path, sizeof path, "%s/hints", folder);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found) < 0) return NULL;
    *length = (size_t)found.st_size;
    void *memory = mmap(NULL, *length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

static const char *open_channel(channel *opened, const char *folder) {
    char path[4096];
    size_t length;
    char *memory = map(folder, &length);
    header *found = &opened->found;
    if (!memory || length < sizeof *found) return "there is no channel of hints";
    memcpy(found, memory, sizeof *found);
    if (memcmp(found->magic, "PRELHINT", 8) != 0 || found->version != 1) return "there is no channel of hints";
    if (found->ring_offset > length || found->ring_bytes > length - found->ring_offset ||
        found->keys_offset > length || found->keys_bytes > length - found->keys_offset)
        return "the channel is damaged";
    preloader_ring_status status = preloader_ring_attach(&opened->ring, memory + found->ring_offset, found->ring_bytes);
    if (status != PRELOADER_RING_OK) return preloader_ring_explain(status);
    snprintf(path, sizeof path, "%s/wake", folder);
    opened->wake_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (opened->wake_fd < 0) return "the channel's FIFO cannot be opened";
    opened->generation = (const volatile uint32_t *)(void *)(memory + offsetof(header, generation));
    opened->keys = (const unsigned char *)memory + found->keys_offset;
    return NULL;
}

/* Return the id of a key; -1 where the channel was not opened for it. */
static int64_t id_of(const channel *opened, const char *key) {
    const unsigned char *at = opened->keys, *end = at + opened->found.keys_bytes;
    for (uint32_t id = 0; id < opened->found.keys && end - at >= 2; id++) {
        size_t length = at[0] | (size_t)at[1] << 8;
        at += 2;
        if ((size_t)(end - at) < length) break;
        if (length == strlen(key) && memcmp(at, key, length) == 0) return id;
        at += length;
    }
    return -1;
}

static uint32_t deadline_ms(const channel *opened, double ttl_s) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    uint32_t deadline = (uint32_t)((now_ns - opened->found.epoch_ns) / 1000000 + (int64_t)(1000 * ttl_s));
    return deadline ? deadline : 1; /* 0 would be never */
}

static preloader_posted post(const channel *opened, uint32_t id, double probability, uint32_t steps, double ttl_s) {
    static const uint64_t one = 1;
    uint32_t asleep;
    preloader_posted posted = preloader_post(&opened->ring, id, probability, steps, deadline_ms(opened, ttl_s),
                                             *opened->generation, &asleep);
    if (asleep && write(opened->wake_fd, &one, sizeof one) < 0) return posted; /* a FIFO that is full was rung enough */
    return posted;
}

int main(int count, char **words) {
    channel opened;
    if (count != 4) {
        fprintf(stderr, "usage: %s FOLDER KEY PROBABILITY\n", words[0]);
        return 2;
    }
    const char *fault = open_channel(&opened, words[1]);
    int64_t id = fault ? -1 : id_of(&opened, words[2]);
    if (!fault && id < 0) fault = "the channel was not opened for this key";
    preloader_posted posted = fault ? PRELOADER_POSTED : post(&opened, (uint32_t)id, atof(words[3]), 1, 60.0);
    if (posted == PRELOADER_POST_FULL) fault = "the ring is full";
    if (posted == PRELOADER_POST_INVALID) fault = "the probability must lie between 0 and 1";
    if (fault) fprintf(stderr, "%s: %s\n", words[1], fault);
    return fault ? 1 : 0;
}
