/* Depth-first search over the choices of an execution, each execution run anew from the start on coroutines. */
#include "explorer.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "machine.h"
#include "steps.h"

enum { STEPS_MAX = 48, DEPTH_MAX = 4096, STACK_BYTES = 64 * 1024 };

typedef struct {
    ucontext_t context;
    jmp_buf parked;
    char *stack;
    operation pending;
    outcome result;
    uint64_t history; /* hash of all that the thread has read: with its program, the thread's own state */
    int steps;
    bool started, ended;
} coroutine;

typedef struct {
    option chosen_option;
    operation did;
    outcome result;
    uint16_t chosen, count;
} choice;

static coroutine threads[THREADS_MAX];
static choice path[DEPTH_MAX];
static int depth, prefix; /* length of the execution so far; how much of it is prescribed */
static jmp_buf scheduler;
static ucontext_t scheduler_context;
static int running = -1; /* the thread whose code runs; -1 in set-up and checks */
static const scenario *program;

static uint64_t *visited;
static uint64_t visited_capacity, visited_count;

static bool visit(uint64_t hash) {
    hash += hash == 0;
    if (2 * visited_count >= visited_capacity) {
        uint64_t *old = visited, old_capacity = visited_capacity;
        visited_capacity = old_capacity ? 2 * old_capacity : 1 << 16;
        visited = calloc(visited_capacity, sizeof *visited);
        if (!visited) abort();
        visited_count = 0;
        for (uint64_t i = 0; i < old_capacity; i++)
            if (old[i]) visit(old[i]);
        free(old);
    }
    uint64_t at = hash & (visited_capacity - 1);
    while (visited[at] && visited[at] != hash) at = (at + 1) & (visited_capacity - 1);
    if (visited[at]) return false;
    visited[at] = hash;
    visited_count++;
    return true;
}

int running_thread(void) { return running; }

/* _setjmp between stacks instead of swapcontext: no system call, ten times as fast. */
static void to_scheduler(void) {
    if (!_setjmp(threads[running].parked)) _longjmp(scheduler, 1);
}

outcome take_step(const operation *next) {
    coroutine *self = &threads[running];
    self->pending = *next;
    to_scheduler();
    self->history = mix(mix(self->history, self->result.value), self->result.stored);
    return self->result;
}

void note_plain_read(uint64_t value) { threads[running].history = mix(threads[running].history, value); }

static void coroutine_main(void) {
    program->body(running);
    threads[running].ended = true;
    to_scheduler();
}

/* Runs `thread` up to its next atomic operation or its end. */
static void resume(int thread) {
    coroutine *self = &threads[thread];
    running = thread;
    if (!_setjmp(scheduler)) {
        if (self->started) _longjmp(self->parked, 1);
        self->started = true;
        setcontext(&self->context);
    }
    running = -1;
}

static void start_threads(void) {
    for (int i = 0; i < program->threads; i++) {
        coroutine *self = &threads[i];
        char *stack = self->stack ? self->stack : malloc(STACK_BYTES);
        if (!stack) abort();
        *self = (coroutine){.stack = stack};
        getcontext(&self->context);
        self->context.uc_stack.ss_sp = stack;
        self->context.uc_stack.ss_size = STACK_BYTES;
        self->context.uc_link = &scheduler_context;
        makecontext(&self->context, coroutine_main, 0);
        resume(i);
    }
}

static uint64_t state_hash(void) {
    uint64_t hash = machine_hash();
    for (int i = 0; i < program->threads; i++) hash = mix(mix(hash, threads[i].history), threads[i].ended);
    return hash;
}

typedef enum { COMPLETE, KNOWN, FAILED } ending;

static ending run_execution(void) {
    option options[OPTIONS_MAX];
    program->setup();
    machine_reset(program->threads);
    depth = 0;
    start_threads();
    while (!machine_failure[0]) {
        int count = 0;
        bool all_ended = true;
        for (int i = 0; i < program->threads; i++) {
            if (threads[i].ended) continue;
            all_ended = false;
            if (threads[i].steps >= STEPS_MAX) machine_fail("livelock: thread %d has taken %d steps", i, STEPS_MAX);
            count = machine_options(i, &threads[i].pending, options, count);
        }
        if (all_ended) {
            program->check();
            return machine_failure[0] ? FAILED : COMPLETE;
        }
        if (count == 0) {
            machine_fail("deadlock: everyone who has not ended sleeps");
            return FAILED;
        }
        if (depth == DEPTH_MAX) abort();
        choice *now = &path[depth++];
        if (depth > prefix) {
            if (!visit(state_hash())) return depth--, KNOWN;
            now->chosen = 0;
            now->count = (uint16_t)count;
            prefix = depth;
        }
        option chosen = options[now->chosen];
        coroutine *next = &threads[chosen.thread];
        next->result = machine_step(chosen.thread, &next->pending, chosen);
        next->steps++;
        now->chosen_option = chosen;
        now->did = next->pending;
        now->result = next->result;
        resume(chosen.thread);
    }
    return FAILED;
}

/* Moves on to the next path; false where all have been walked. */
static bool advance(void) {
    while (depth > 0 && path[depth - 1].chosen + 1 >= path[depth - 1].count) depth--;
    if (depth == 0) return false;
    path[depth - 1].chosen++;
    prefix = depth;
    return true;
}

verdict explore(const scenario *which, uint64_t states_max) {
    verdict result = {.exhausted = true};
    program = which;
    free(visited);
    visited = NULL;
    visited_capacity = visited_count = 0;
    prefix = 0;
    do {
        ending end = run_execution();
        result.executions += end == COMPLETE;
        if (end == FAILED) {
            result.failure = machine_failure;
            break;
        }
        if (visited_count >= states_max) {
            result.exhausted = false;
            break;
        }
    } while (advance());
    result.states = visited_count;
    return result;
}

void explorer_trace(void) {
    static const char *const kinds[] = {"load", "store", "exchange", "add", "sub", "and",
                                        "or",   "xor",   "cas",      "fence", "wait"};
    static const char *const orders[] = {"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"};
    for (int i = 0; i < depth; i++) {
        const operation *did = &path[i].did;
        printf("  thread %d: %s %s %p", path[i].chosen_option.thread, kinds[did->kind], orders[did->order],
               did->address);
        if (did->kind != FENCE && did->kind != STORE) printf(" read %llu", (unsigned long long)path[i].result.value);
        if (path[i].chosen_option.stores) printf(" operand %llu", (unsigned long long)did->operand);
        puts("");
    }
}

void explorer_check(bool holds, const char *what) {
    if (!holds) machine_fail("%s", what);
}

void explorer_wait(uint64_t *doorbell) {
    take_step(&(operation){.kind = WAIT, .order = ORDER_ACQ_REL, .size = 8, .address = doorbell});
}

void explorer_ring(uint64_t *doorbell) {
    take_step(&(operation){.kind = ADD, .order = ORDER_ACQ_REL, .size = 8, .address = doorbell, .operand = 1});
}
