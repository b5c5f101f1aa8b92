/* What the parts of the extension module `preloader.ring._native` share: the ring of ring.h as a Python type.
 * preloader/ring/twin.py says the same in Python, and one suite tests both.
 *
 * A Ring never changes after it was made, but for atomics and the memory that ring.h guards, so no method needs a lock
 * or the GIL. It owns its wake-up descriptors as long as it lives: a thread that is about to write to one never finds
 * it closed, or open as somebody else's.
 */
#ifndef PRELOADER_BINDING_H
#define PRELOADER_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>

#include "../ring.h"

enum {
    INTERFACE = 1, /* raised with every change of what Python sees, here and in backend.py, which refuses others */
    MAX_CONSUMERS = 32
};

typedef struct module_state {
    PyTypeObject *ring_type;
    PyObject *record_type; /* preloader.ring.record.Record */
    PyObject *dtype;       /* preloader.ring.record.DTYPE */
    PyObject *empty;       /* numpy.empty; NULL in an interpreter that has no NumPy */
} module_state;

typedef struct wakeup {
    _Atomic int read_fd; /* -1: not opened yet. The consumer that holds the bit opens both, once; they stay open */
    _Atomic int write_fd;
} wakeup;

typedef struct ring_object {
    PyObject_HEAD
    PyObject *weak_references;
    module_state *state; /* lives as long as the type, which this object holds */
    preloader_ring ring;
    void *memory;     /* where it is the ring's own; else NULL */
    Py_buffer buffer; /* where it is the caller's; else buffer.obj is NULL */
    int shared_fd;    /* what wakes consumers instead of descriptors of our own; -1: none */
    _Atomic bool closed;
    _Atomic uint32_t consumers; /* a bit for each consumer there is */
    wakeup wakeups[MAX_CONSUMERS];
} ring_object;

/* records.c: a record as Python objects. */

/* Read the fields of a record from the usual types; false, without an error, where they are anything else or out of range. */
bool read_fields(PyObject *const *fields, Py_ssize_t count, preloader_record *record);
/* Let Record.pack read the fields of a Record: it takes every type that Python does, and words the error. */
int pack_fields(PyObject *made, preloader_record *record);
/* Read a Record, or a tuple that could be one. */
int read_record(const module_state *state, PyObject *value, preloader_record *record);
PyObject *make_record(const module_state *state, const preloader_record *record);

/* transfer.c: what goes in and comes out. */
PyObject *ring_try_put(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *ring_put_many(ring_object *self, PyObject *source);
PyObject *ring_try_get(ring_object *self, PyObject *ignored);
PyObject *ring_get_many(ring_object *self, PyObject *args, PyObject *names);
PyObject *ring_get_records(ring_object *self, PyObject *argument);

/* waking.c: consumers that sleep, what wakes them, and closing, which wakes them all. */

/* Wake the consumers of these bits. */
void wake(ring_object *self, uint32_t bits);
/* Close the descriptors that consumers were woken through. */
void close_descriptors(ring_object *self);
PyObject *ring_open_consumer(ring_object *self, PyObject *ignored);
PyObject *ring_close_consumer(ring_object *self, PyObject *argument);
PyObject *ring_fileno(ring_object *self, PyObject *argument);
PyObject *ring_arm(ring_object *self, PyObject *argument);
PyObject *ring_clear(ring_object *self, PyObject *argument);
PyObject *ring_close(ring_object *self, PyObject *ignored);

static inline bool is_closed(ring_object *self) { return atomic_load_explicit(&self->closed, memory_order_relaxed); }

static inline void wake_sleepers(ring_object *self) {
    uint32_t sleeping = preloader_ring_wake(&self->ring);
    if (sleeping) wake(self, sleeping);
}

/* life.c: how a ring is made, in memory of its own or of the caller's, and goes. */
PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *names);
PyObject *ring_attach(PyTypeObject *type, PyObject *args, PyObject *names);
PyObject *ring_size_for(PyObject *ignored, PyObject *argument);
int ring_traverse(PyObject *self, visitproc visit, void *arg);
void ring_dealloc(ring_object *self);

/* ring_type.c: what Python sees. */
extern PyType_Spec ring_spec;

#endif
