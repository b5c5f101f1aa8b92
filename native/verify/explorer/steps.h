/* How code under test takes a step: called by tsan_abi.c, implemented by explore.c. */
#ifndef EXPLORER_STEPS_H
#define EXPLORER_STEPS_H

#include "machine.h"

/* The thread whose code runs, -1 in set-up and checks, which run past the model. */
int running_thread(void);

/* Parks the running thread until the search chooses its operation, and returns what that did. */
outcome take_step(const operation *next);

/* Makes a plainly read value part of the running thread's state. */
void note_plain_read(uint64_t value);

#endif
