/* See machine.h for the model. */
#include "machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REGIONS_MAX = 8, WORDS_MAX = 16384, NO_LOCATION = 0xFF, STALE_READS = 2, SPURIOUS_FAILURES = 1 };

/* What a thread has seen: of each location a message at least, of each thread the accesses up to a time. */
typedef struct {
    uint8_t seen[LOCATIONS_MAX]; /* index of the message, in order of creation */
    uint16_t clock[THREADS_MAX];
} view;

typedef struct {
    uint64_t value;
    uint16_t key;     /* writer and its step: names the message whatever the interleaving */
    uint8_t position; /* in the modification order */
    bool read_modify; /* stored by a read-modify-write: nothing comes between it and its predecessor */
    view published;
} message;

typedef struct {
    void *address;
    int count; /* 0: not touched in this execution yet */
    message messages[MESSAGES_MAX];
    uint8_t order[MESSAGES_MAX]; /* messages by position */
} location;

typedef struct {
    view now;
    view at_acquire_fence; /* what relaxed loads have read, taken over at an acquire fence */
    view at_release_fence; /* what a relaxed store publishes */
    uint16_t steps;
    uint8_t spurious;
    uint8_t stale[LOCATIONS_MAX]; /* how often the same outdated message was read in a row */
} thread_state;

/* The last write and the last reads of one 4-byte word. */
typedef struct {
    uint16_t write_clock;
    uint8_t writer;
    uint8_t location; /* of the atomic that lives here */
    uint16_t read_clock[THREADS_MAX];
} word;

typedef struct {
    char *start;
    size_t size;
    size_t first_word;
} region;

static region regions[REGIONS_MAX];
static int region_count;
static size_t word_count;
static word words[WORDS_MAX];
static location locations[LOCATIONS_MAX];
static int location_count;
static thread_state threads[THREADS_MAX];
static int thread_count;
static view sc_fences; /* the join of all seq_cst fences so far */

char machine_failure[256];

void machine_fail(const char *format, ...) {
    va_list arguments;
    if (machine_failure[0]) return;
    va_start(arguments, format);
    vsnprintf(machine_failure, sizeof machine_failure, format, arguments);
    va_end(arguments);
}

static void usage_error(const char *what) {
    fprintf(stderr, "explorer: %s\n", what);
    exit(3);
}

void explorer_forget(void) {
    region_count = 0;
    word_count = 0;
    location_count = 0;
}

void explorer_share(void *memory, size_t size) {
    if (region_count == REGIONS_MAX || word_count + size / 4 + 1 > WORDS_MAX) usage_error("too much shared memory");
    regions[region_count++] = (region){memory, size, word_count};
    word_count += (size + 3) / 4;
}

/* Returns the shadow of the word at `address`, NULL where that memory is not shared. */
static word *word_at(const void *address) {
    const char *byte = address;
    for (int i = 0; i < region_count; i++)
        if (byte >= regions[i].start && byte < regions[i].start + regions[i].size)
            return &words[regions[i].first_word + (size_t)(byte - regions[i].start) / 4];
    return NULL;
}

void machine_reset(int count) {
    memset(words, 0, word_count * sizeof *words);
    for (size_t i = 0; i < word_count; i++) words[i].location = NO_LOCATION;
    memset(threads, 0, sizeof threads);
    memset(&sc_fences, 0, sizeof sc_fences);
    for (int i = 0; i < location_count; i++) {
        locations[i].count = 0;
        word_at(locations[i].address)->location = (uint8_t)i;
    }
    for (int i = 0; i < count; i++) threads[i].now.clock[i] = 1;
    thread_count = count;
    machine_failure[0] = 0;
}

uint64_t memory_read(const void *address, int size) {
    uint64_t value = 0;
    memcpy(&value, address, (size_t)size); /* little-endian */
    return value;
}

void memory_write(void *address, int size, uint64_t value) { memcpy(address, &value, (size_t)size); }

static location *location_of(const operation *next) {
    word *shadow = word_at(next->address);
    if (!shadow) usage_error("an atomic lies outside the shared memory");
    if (shadow->location == NO_LOCATION) {
        if (location_count == LOCATIONS_MAX) usage_error("too many atomics");
        locations[location_count].address = next->address;
        locations[location_count].count = 0;
        shadow->location = (uint8_t)location_count++;
    }
    location *at = &locations[shadow->location];
    if (at->count == 0) {
        memset(&at->messages[0], 0, sizeof at->messages[0]);
        at->messages[0].value = memory_read(next->address, next->size);
        at->order[0] = 0;
        at->count = 1;
    }
    return at;
}

static void join(view *into, const view *from) {
    for (int i = 0; i < location_count; i++)
        if (locations[i].count && from->seen[i] != into->seen[i] &&
            locations[i].messages[from->seen[i]].position > locations[i].messages[into->seen[i]].position)
            into->seen[i] = from->seen[i];
    for (int i = 0; i < thread_count; i++)
        if (from->clock[i] > into->clock[i]) into->clock[i] = from->clock[i];
}

static bool acquires(int order) { return order == ORDER_ACQUIRE || order == ORDER_CONSUME || order == ORDER_ACQ_REL || order == ORDER_SEQ_CST; }
static bool releases(int order) { return order == ORDER_RELEASE || order == ORDER_ACQ_REL || order == ORDER_SEQ_CST; }

static int seen_position(int thread, const location *at) {
    return at->messages[threads[thread].now.seen[at - locations]].position;
}

/* Whether a store may go behind `position`: not between a read-modify-write and what it read. */
static bool open_behind(const location *at, int position) {
    return position + 1 == at->count || !at->messages[at->order[position + 1]].read_modify;
}

static int add(option *options, int count, int thread, int position, bool stores, bool spurious) {
    if (count == OPTIONS_MAX) usage_error("too many options at one step");
    options[count] = (option){(uint8_t)thread, (uint8_t)position, stores, spurious};
    return count + 1;
}

static int cas_options(int thread, const operation *next, const location *at, option *options, int count) {
    bool spurious = next->weak && threads[thread].spurious < SPURIOUS_FAILURES;
    for (int p = seen_position(thread, at); p < at->count; p++) {
        if (at->messages[at->order[p]].value != next->expected) {
            count = add(options, count, thread, p, false, false);
            continue;
        }
        if (open_behind(at, p)) count = add(options, count, thread, p, true, false);
        if (spurious) count = add(options, count, thread, p, false, true);
        spurious = false;
    }
    return count;
}

int machine_options(int thread, const operation *next, option *options, int count) {
    if (next->kind == FENCE) return add(options, count, thread, 0, false, false);
    const location *at = location_of(next);
    int last = at->count - 1;
    if (next->kind == WAIT)
        return at->messages[at->order[last]].value ? add(options, count, thread, last, true, false) : count;
    if (next->kind == CAS) return cas_options(thread, next, at, options, count);
    for (int p = seen_position(thread, at); p <= last; p++) {
        bool outworn = next->kind == LOAD && p < last && p == seen_position(thread, at) &&
                       threads[thread].stale[at - locations] >= STALE_READS;
        if (!outworn && (next->kind == LOAD || open_behind(at, p)))
            count = add(options, count, thread, p, next->kind != LOAD, false);
    }
    return count;
}

static uint64_t applied(const operation *next, uint64_t old) {
    uint64_t value = next->operand;
    switch (next->kind) {
    case ADD: value = old + next->operand; break;
    case SUB: value = old - next->operand; break;
    case AND: value = old & next->operand; break;
    case OR: value = old | next->operand; break;
    case XOR: value = old ^ next->operand; break;
    case WAIT: value = 0; break;
    default: break;
    }
    return next->size == 8 ? value : value & ((UINT64_C(1) << (8 * next->size)) - 1);
}

/* Puts a message behind `position`; `inherited` is what the message it replaced had published, NULL for a plain store. */
static void store(int thread, location *at, const operation *next, int position, uint64_t value, const view *inherited) {
    thread_state *self = &threads[thread];
    if (at->count == MESSAGES_MAX) usage_error("too many stores to one atomic");
    int index = at->count++;
    for (int p = index; p > position + 1; p--) {
        at->order[p] = at->order[p - 1];
        at->messages[at->order[p]].position = (uint8_t)p;
    }
    at->order[position + 1] = (uint8_t)index;
    message *made = &at->messages[index];
    *made = (message){.value = value,
                      .key = (uint16_t)((thread + 1) << 12 | self->steps),
                      .position = (uint8_t)(position + 1),
                      .read_modify = inherited != NULL};
    self->now.seen[at - locations] = (uint8_t)index;
    made->published = releases(next->order) ? self->now : self->at_release_fence;
    if (inherited) join(&made->published, inherited);
    made->published.seen[at - locations] = (uint8_t)index;
    memory_write(at->address, next->size, at->messages[at->order[at->count - 1]].value);
}

static void fence(int thread, int order) {
    thread_state *self = &threads[thread];
    if (acquires(order)) join(&self->now, &self->at_acquire_fence);
    if (order == ORDER_SEQ_CST) {
        join(&self->now, &sc_fences);
        sc_fences = self->now;
    }
    if (releases(order)) self->at_release_fence = self->now;
}

static void note_staleness(int thread, const location *at, int position) {
    uint8_t *stale = &threads[thread].stale[at - locations];
    bool again = position == seen_position(thread, at) && position < at->count - 1;
    *stale = again ? (uint8_t)(*stale + 1) : 0;
}

outcome machine_step(int thread, const operation *next, option chosen) {
    thread_state *self = &threads[thread];
    outcome result = {0, chosen.stores};
    self->steps++;
    if (next->kind == FENCE) {
        fence(thread, next->order);
    } else {
        location *at = location_of(next);
        const word *shadow = word_at(next->address);
        if (shadow->write_clock > self->now.clock[shadow->writer])
            machine_fail("data race: thread %d's atomic operation is not ordered after thread %d's plain write", thread,
                         shadow->writer);
        message *read = &at->messages[at->order[chosen.position]];
        view inherited = read->published;
        bool reads = next->kind != STORE;
        int order = next->kind == CAS && !chosen.stores ? next->failure_order : next->order;
        result.value = read->value;
        self->spurious = (uint8_t)(self->spurious + chosen.spurious);
        if (reads) {
            note_staleness(thread, at, chosen.position);
            self->now.seen[at - locations] = at->order[chosen.position];
            join(&self->at_acquire_fence, &inherited);
            if (acquires(order)) join(&self->now, &inherited);
        }
        if (chosen.stores)
            store(thread, at, next, chosen.position, applied(next, result.value), reads ? &inherited : NULL);
    }
    self->now.clock[thread]++;
    return result;
}

static void race(const void *address, const char *mine, int thread, const char *theirs, int other) {
    machine_fail("data race: thread %d's %s is not ordered after thread %d's %s of the same %s", thread, mine, other,
                 theirs, word_at(address) ? "shared word" : "word");
}

void machine_plain(int thread, const void *address, size_t size, bool write) {
    const char *kind = write ? "write" : "read";
    const view *now = &threads[thread].now;
    for (const char *at = address; at < (const char *)address + size; at += 4 - (uintptr_t)at % 4) {
        word *shadow = word_at(at);
        if (!shadow) continue;
        if (shadow->location != NO_LOCATION && locations[shadow->location].count) {
            machine_fail("data race: thread %d's plain %s of an atomic", thread, kind);
            return;
        }
        if (shadow->write_clock > now->clock[shadow->writer]) race(at, kind, thread, "write", shadow->writer);
        for (int i = 0; write && i < thread_count; i++)
            if (shadow->read_clock[i] > now->clock[i]) race(at, kind, thread, "read", i);
        if (write) {
            *shadow = (word){now->clock[thread], (uint8_t)thread, shadow->location, {0}};
        } else {
            shadow->read_clock[thread] = now->clock[thread];
        }
    }
}

uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

static uint64_t hash_view(uint64_t hash, const view *of) {
    for (int i = 0; i < location_count; i++)
        if (locations[i].count) hash = mix(hash, locations[i].messages[of->seen[i]].key | (uint64_t)i << 32);
    for (int i = 0; i < thread_count; i++) hash = mix(hash, of->clock[i]);
    return hash;
}

uint64_t machine_hash(void) {
    uint64_t hash = hash_view(0, &sc_fences);
    for (int i = 0; i < location_count; i++) {
        hash = mix(hash, (uint64_t)locations[i].count);
        for (int p = 0; p < locations[i].count; p++) {
            const message *at = &locations[i].messages[locations[i].order[p]];
            hash = hash_view(mix(mix(hash, at->value), at->key | (uint64_t)at->read_modify << 32), &at->published);
        }
    }
    for (int i = 0; i < thread_count; i++) {
        const thread_state *self = &threads[i];
        hash = mix(hash, self->steps | (uint64_t)self->spurious << 32);
        hash = hash_view(hash_view(hash_view(hash, &self->now), &self->at_acquire_fence), &self->at_release_fence);
        for (int l = 0; l < location_count; l++) hash = mix(hash, self->stale[l]);
    }
    for (size_t i = 0; i < word_count; i++) {
        const word *at = &words[i];
        uint64_t reads = 0;
        if (at->write_clock) hash = mix(hash, i << 32 | (uint64_t)at->writer << 16 | at->write_clock);
        for (int t = 0; t < thread_count; t++) reads = reads << 16 | at->read_clock[t];
        if (reads) hash = mix(mix(hash, i), reads);
    }
    return hash;
}
