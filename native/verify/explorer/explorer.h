/* Runs small concurrent programs in every way that C11 lets them run.
 *
 * The code under test is compiled with -fsanitize=thread, unchanged, and linked with tsan_abi.c in place of the
 * ThreadSanitizer runtime: each of its atomic operations becomes a step of the machine of machine.h, each plain access
 * of shared memory is checked for races. The explorer then goes depth first through every order of the threads' steps
 * and every message each of them may read, and cuts where a state has been met before. It is exhaustive up to three
 * bounds: a thread reads the same outdated message at most 2 more times in a row, a weak compare-and-swap fails without
 * cause at most once a thread, and a thread that takes more than STEPS_MAX steps is taken to spin for ever: a failure.
 */
#ifndef EXPLORER_H
#define EXPLORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { THREADS_MAX = 4 };

typedef struct {
    const char *name;
    int threads;
    void (*setup)(void);      /* sets the shared memory's initial values; runs before every execution */
    void (*body)(int thread); /* what thread 0, 1, … does */
    void (*check)(void);      /* runs after every complete execution */
} scenario;

typedef struct {
    uint64_t states;     /* distinct ones */
    uint64_t executions; /* complete */
    bool exhausted;      /* false where the limit on states ended the search */
    const char *failure; /* NULL, or what went wrong first; then trace() tells how */
} verdict;

/* Declares memory that threads share; everything else is a thread's own. At most 8 regions, 64 KiB in all. */
void explorer_share(void *memory, size_t size);
void explorer_forget(void); /* the regions declared so far */

/* Explores `which`. `states_max` bounds memory and time. */
verdict explore(const scenario *which, uint64_t states_max);

/* Prints the steps of the failed execution. */
void explorer_trace(void);

/* For bodies and checks: fails the execution unless `holds`. */
void explorer_check(bool holds, const char *what);

/* For bodies: sleeps until `*doorbell` is not zero, and zeroes it, as a read of an eventfd does. A program in which
 * everyone who has not ended sleeps has failed: that is what a lost wake-up looks like. */
void explorer_wait(uint64_t *doorbell);
void explorer_ring(uint64_t *doorbell);

#endif
