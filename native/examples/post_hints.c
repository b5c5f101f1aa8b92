/* A producer in a process of its own: attaches to a ring in shared memory and posts hints there.
 *
 *     cc -std=c11 -Inative native/examples/post_hints.c native/post.c native/ring.c -o post_hints
 *     ./post_hints NAME COUNT
 *
 * NAME is that of the shared memory, COUNT how many hints to post: resources 0 to COUNT - 1, one step ahead. Prints how
 * many were posted, and how often a consumer had to be woken.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "post.h"

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "usage: %s NAME COUNT\n", words[0]);
        return 2;
    }
    preloader_mapping shared;
    preloader_ring_status status = preloader_open(&shared, words[1]);
    if (status != PRELOADER_RING_OK) {
        const char *reason = status == PRELOADER_RING_UNMAPPED ? strerror(errno) : preloader_ring_explain(status);
        fprintf(stderr, "%s: %s\n", words[1], reason);
        return 1;
    }
    uint32_t hints = (uint32_t)strtoul(words[2], NULL, 10), wakes = 0, wake;
    for (uint32_t resource = 0; resource < hints; resource++) {
        while (preloader_post(&shared.ring, resource, 0.75, 1, 0, 7, &wake) == PRELOADER_POST_FULL) sched_yield();
        wakes += wake != 0;
    }
    printf("%u posted, %u wake-ups\n", (unsigned)hints, (unsigned)wakes);
    preloader_close(&shared);
    return 0;
}
