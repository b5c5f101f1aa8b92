/* The memory of an abstract C11 machine: what each thread may read, and which plain accesses race.
 *
 * The model is the promise-free view machine (Kang et al., "A promising semantics for relaxed-memory concurrency", POPL
 * 2017, without promises; Lahav et al., "Repairing sequential consistency in C/C++11", PLDI 2017). Each location holds
 * its messages in modification order; a thread's view says which message of each location it has at least seen, and it
 * may read any newer one. A release store publishes the writer's view, an acquire load takes it over, a relaxed one does
 * not. Stores may land in the middle of the modification order, read-modify-writes directly behind what they read.
 *
 * Where it differs from C11: loads never read from stores that come later in every interleaving (no load buffering);
 * a release sequence is continued by read-modify-writes only (C++20's rule, weaker than C11's); seq_cst accesses are
 * acquire/release with no order of their own (weaker), while seq_cst fences are in one total order.
 */
#ifndef EXPLORER_MACHINE_H
#define EXPLORER_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "explorer.h"

enum { LOCATIONS_MAX = 32, MESSAGES_MAX = 48, OPTIONS_MAX = 160 };

/* The memory orders of the __tsan_atomic ABI. */
enum { ORDER_RELAXED, ORDER_CONSUME, ORDER_ACQUIRE, ORDER_RELEASE, ORDER_ACQ_REL, ORDER_SEQ_CST };

typedef enum { LOAD, STORE, EXCHANGE, ADD, SUB, AND, OR, XOR, CAS, FENCE, WAIT } operation_kind;

/* One atomic operation that a thread is about to do. */
typedef struct {
    operation_kind kind;
    int order;
    int failure_order; /* CAS only */
    bool weak;         /* CAS only: may fail although the values are equal */
    int size;          /* bytes */
    void *address;     /* of the atomic; NULL for a fence */
    uint64_t operand;
    uint64_t expected; /* CAS only */
} operation;

typedef struct {
    uint64_t value; /* what was read */
    bool stored;    /* CAS only: it succeeded */
} outcome;

/* One way in which a pending operation may go on: at which message, and whether it stores behind it. */
typedef struct {
    uint8_t thread;
    uint8_t position;
    bool stores;
    bool spurious;
} option;

/* Why an execution was stopped; empty while it is sound. Set by the first failure. */
extern char machine_failure[256];
void machine_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Forgets every message and view; `threads` threads start with all that was written so far seen. */
void machine_reset(int threads);

/* Appends to `options` the ways in which `thread` may do `next`; returns the new count. */
int machine_options(int thread, const operation *next, option *options, int count);

/* Does `next` in the way `chosen`. */
outcome machine_step(int thread, const operation *next, option chosen);

/* Checks a plain access against the accesses of the other threads. */
void machine_plain(int thread, const void *address, size_t size, bool write);

/* A hash of the whole memory state, the same for equal states whatever the interleaving that led there. */
uint64_t machine_hash(void);

/* Reads an atomic's newest value, and writes it past the model: for set-up and final checks only. */
uint64_t memory_read(const void *address, int size);
void memory_write(void *address, int size, uint64_t value);

uint64_t mix(uint64_t hash, uint64_t word);

#endif
