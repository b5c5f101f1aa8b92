/* The extension module `preloader.ring._native`: the ring of ring.h as a Python type. preloader/ring/twin.py says the
 * same in Python, and one suite tests both.
 *
 * A Ring never changes after it was made, but for atomics and the memory that ring.h guards, so no method needs a lock
 * or the GIL. It owns its wake-up descriptors as long as it lives: a thread that is about to write to one never finds
 * it closed, or open as somebody else's.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <structmember.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

#include "ring.h"

enum { MAX_CONSUMERS = 32, FIELDS = 6, REQUIRED_FIELDS = 3, CHUNK = 64 };
static const double PROBABILITY_ONE = 65535.0;

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

/* --- Records --------------------------------------------------------------------------------------------------------- */

/* Read a number that is kept in one digit, as nearly all are. */
static inline bool as_digit(PyObject *value, unsigned long *number) {
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)value)) return false;
    *number = (unsigned long)PyUnstable_Long_CompactValue((PyLongObject *)value); /* of a negative one: too large */
#else
    if (Py_SIZE(value) != 0 && Py_SIZE(value) != 1) return false;
    *number = Py_SIZE(value) ? ((PyLongObject *)value)->ob_digit[0] : 0;
#endif
    return true;
}

static inline bool as_number(PyObject *value, unsigned long most, uint32_t *number) {
    unsigned long found;
    if (!PyLong_CheckExact(value)) return false;
    if (!as_digit(value, &found) && (found = PyLong_AsUnsignedLong(value)) == (unsigned long)-1) PyErr_Clear();
    *number = (uint32_t)found;
    return found <= most;
}

/* Read the fields of a record from the usual types; false, without an error, where they are anything else or out of range. */
static bool read_fields(PyObject *const *fields, Py_ssize_t count, preloader_record *record) {
    if (count < REQUIRED_FIELDS || count > FIELDS || !PyFloat_CheckExact(fields[1])) return false;
    double probability = PyFloat_AS_DOUBLE(fields[1]);
    if (!(probability >= 0.0 && probability <= 1.0)) return false;
    uint32_t resource, steps, flags = 0, deadline_ms = 0, generation = 0;
    if (!as_number(fields[0], UINT32_MAX, &resource) || !as_number(fields[2], UINT8_MAX, &steps) || !steps) return false;
    if (count > 3 && !as_number(fields[3], UINT8_MAX, &flags)) return false;
    if (count > 4 && !as_number(fields[4], UINT32_MAX, &deadline_ms)) return false;
    if (count > 5 && !as_number(fields[5], UINT32_MAX, &generation)) return false;
    *record = (preloader_record){resource, (uint16_t)lrint(probability * PROBABILITY_ONE), (uint8_t)steps, (uint8_t)flags,
                                 deadline_ms, generation};
    return true;
}

/* Let Record.pack read the fields: it takes every type that Python does, and words the error. */
static int pack_fields(PyObject *made, preloader_record *record) {
    PyObject *packed = PyObject_CallMethod(made, "pack", NULL);
    if (!packed) return -1;
    int bad = !PyBytes_Check(packed) || PyBytes_GET_SIZE(packed) != sizeof *record;
    if (bad) PyErr_SetString(PyExc_TypeError, "Record.pack must return a record's 16 bytes");
    else memcpy(record, PyBytes_AS_STRING(packed), sizeof *record);
    Py_DECREF(packed);
    return bad ? -1 : 0;
}

static int read_record(const module_state *state, PyObject *value, preloader_record *record) {
    if (!PyTuple_Check(value)) {
        PyErr_Format(PyExc_TypeError, "a ring takes a Record, not %.100s", Py_TYPE(value)->tp_name);
        return -1;
    }
    if (read_fields(&PyTuple_GET_ITEM(value, 0), PyTuple_GET_SIZE(value), record)) return 0;
    PyObject *made = PyObject_Call(state->record_type, value, NULL);
    int status = made ? pack_fields(made, record) : -1;
    Py_XDECREF(made);
    return status;
}

static PyObject *make_record(const module_state *state, const preloader_record *record) {
    PyObject *fields[FIELDS] = {
        PyLong_FromUnsignedLong(record->resource),    PyFloat_FromDouble(record->probability / PROBABILITY_ONE),
        PyLong_FromUnsignedLong(record->steps),       PyLong_FromUnsignedLong(record->flags),
        PyLong_FromUnsignedLong(record->deadline_ms), PyLong_FromUnsignedLong(record->generation),
    };
    PyObject *made = NULL;
    for (int at = 0; at < FIELDS; at++)
        if (!fields[at]) goto failed;
#if PY_VERSION_HEX < 0x030E0000
    PyTypeObject *type = (PyTypeObject *)state->record_type;
    if (!(made = type->tp_alloc(type, FIELDS))) goto failed;
    for (int at = 0; at < FIELDS; at++) PyTuple_SET_ITEM(made, at, fields[at]);
    return made;
#else /* where a tuple has more in it than its items */
    made = PyObject_Vectorcall(state->record_type, fields, FIELDS, NULL);
#endif
failed:
    for (int at = 0; at < FIELDS; at++) Py_XDECREF(fields[at]);
    return made;
}

/* --- Waking ---------------------------------------------------------------------------------------------------------- */

static void ring_bell(int fd) {
    static const uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) continue; /* one that is full is rung already */
}

/* Wake the consumers of these bits. */
static void wake(ring_object *self, uint32_t bits) {
    if (self->shared_fd >= 0) {
        ring_bell(self->shared_fd);
        return;
    }
    for (int bit = 0; bits; bit++, bits >>= 1) {
        if (!(bits & 1)) continue;
        int fd = atomic_load_explicit(&self->wakeups[bit].write_fd, memory_order_acquire);
        if (fd >= 0) ring_bell(fd);
    }
}

static inline void wake_sleepers(ring_object *self) {
    uint32_t sleeping = preloader_ring_wake(&self->ring);
    if (sleeping) wake(self, sleeping);
}

static int open_descriptors(int fds[2]) {
#ifdef __linux__
    fds[0] = fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fds[0] < 0 ? -1 : 0;
#else
    if (pipe(fds) < 0) return -1;
    for (int end = 0; end < 2; end++) {
        fcntl(fds[end], F_SETFD, FD_CLOEXEC);
        fcntl(fds[end], F_SETFL, fcntl(fds[end], F_GETFL) | O_NONBLOCK);
    }
    return 0;
#endif
}

/* Return the bit of one more consumer, whose bit nobody else has; -1 where there are too many. */
static int take_bit(ring_object *self) {
    uint32_t taken = atomic_load_explicit(&self->consumers, memory_order_relaxed);
    for (;;) {
        int bit = 0;
        while (bit < MAX_CONSUMERS && taken >> bit & 1) bit++;
        if (bit == MAX_CONSUMERS || (self->shared_fd >= 0 && bit)) return -1;
        if (atomic_compare_exchange_weak_explicit(&self->consumers, &taken, taken | 1u << bit, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return bit;
    }
}

PyDoc_STRVAR(open_consumer_doc, "open_consumer($self, /)\n--\n\n"
             "Return the number of one more consumer that may sleep. See `preloader.ring.reader.Reader`, which uses it.");

static PyObject *open_consumer(ring_object *self, PyObject *Py_UNUSED(ignored)) {
    int bit = take_bit(self);
    if (bit < 0)
        return PyErr_Format(PyExc_ValueError, "%s", self->shared_fd >= 0 ? "one consumer may wait at a wake_fd, and there is one"
                                                                         : "32 consumers may wait at a ring, and there are 32");
    wakeup *mine = &self->wakeups[bit];
    if (self->shared_fd < 0 && atomic_load_explicit(&mine->write_fd, memory_order_acquire) < 0) {
        int fds[2];
        if (open_descriptors(fds) < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            atomic_fetch_and_explicit(&self->consumers, ~(1u << bit), memory_order_release);
            return NULL;
        }
        atomic_store_explicit(&mine->read_fd, fds[0], memory_order_release);
        atomic_store_explicit(&mine->write_fd, fds[1], memory_order_release);
    }
    return PyLong_FromLong(bit);
}

/* Return the bit that `argument` names; -1 with an error set where no consumer has it. */
static int bit_of(ring_object *self, PyObject *argument) {
    long bit = PyLong_AsLong(argument);
    if (bit == -1 && PyErr_Occurred()) return -1;
    if (bit >= 0 && bit < MAX_CONSUMERS && atomic_load_explicit(&self->consumers, memory_order_relaxed) >> bit & 1) return (int)bit;
    PyErr_Format(PyExc_ValueError, "the ring has no consumer %ld", bit);
    return -1;
}

PyDoc_STRVAR(close_consumer_doc, "close_consumer($self, consumer, /)\n--\n\nGive a consumer's number back.");

static PyObject *close_consumer(ring_object *self, PyObject *argument) {
    int bit = bit_of(self, argument);
    if (bit < 0) return NULL;
    preloader_ring_disarm(&self->ring, 1u << bit);
    atomic_fetch_and_explicit(&self->consumers, ~(1u << bit), memory_order_release);
    Py_RETURN_NONE;
}

static int read_end(ring_object *self, int bit) {
    return self->shared_fd >= 0 ? self->shared_fd : atomic_load_explicit(&self->wakeups[bit].read_fd, memory_order_acquire);
}

PyDoc_STRVAR(fileno_doc, "fileno($self, consumer, /)\n--\n\nReturn the descriptor that is readable once a consumer was woken.");

static PyObject *ring_fileno(ring_object *self, PyObject *argument) {
    int bit = bit_of(self, argument);
    return bit < 0 ? NULL : PyLong_FromLong(read_end(self, bit));
}

PyDoc_STRVAR(arm_doc, "arm($self, consumer, /)\n--\n\n"
             "Ask to be woken at the next put; False where there is something to take, or nothing ever will be.");

static PyObject *ring_arm(ring_object *self, PyObject *argument) {
    int bit = bit_of(self, argument);
    if (bit < 0) return NULL;
    bool may_sleep = preloader_ring_arm(&self->ring, 1u << bit);
    return PyBool_FromLong(may_sleep && !atomic_load_explicit(&self->closed, memory_order_acquire));
}

PyDoc_STRVAR(clear_doc, "clear($self, consumer, /)\n--\n\n"
             "Take the wake-ups that came for a consumer: dozens at most, so that nobody who floods a FIFO holds it up.");

static PyObject *ring_clear(ring_object *self, PyObject *argument) {
    char rung[256];
    int bit = bit_of(self, argument);
    if (bit < 0) return NULL;
    while (read(read_end(self, bit), rung, sizeof rung) < 0 && errno == EINTR) continue;
    Py_RETURN_NONE;
}

/* --- Putting --------------------------------------------------------------------------------------------------------- */

static inline bool is_closed(ring_object *self) { return atomic_load_explicit(&self->closed, memory_order_relaxed); }

static PyObject *put_one(ring_object *self, const preloader_record *record) {
    if (is_closed(self) || !preloader_ring_try_put(&self->ring, record)) Py_RETURN_FALSE;
    wake_sleepers(self);
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(try_put_doc, "try_put($self, /, *record)\n--\n\n"
             "Put one record, given as a `Record` or field by field; False where the ring is full, or closed.\n\n"
             "Raises:\n    ValueError: A field is out of its range.");

static PyObject *try_put(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    preloader_record record;
    if (count == 1 && !names) return read_record(self->state, args[0], &record) < 0 ? NULL : put_one(self, &record);
    if (!names && read_fields(args, count, &record)) return put_one(self, &record);
    PyObject *made = PyObject_Vectorcall(self->state->record_type, args, (size_t)count, names);
    int status = made ? pack_fields(made, &record) : -1;
    Py_XDECREF(made);
    return status < 0 ? NULL : put_one(self, &record);
}

/* Return how many records a buffer holds; -1 with an error set where it does not hold records. */
static Py_ssize_t records_in(const Py_buffer *view) {
    bool is_records = view->itemsize == sizeof(preloader_record) || view->itemsize == 1;
    if (view->ndim <= 1 && is_records && view->len % (Py_ssize_t)sizeof(preloader_record) == 0)
        return view->len / (Py_ssize_t)sizeof(preloader_record);
    PyErr_Format(PyExc_ValueError, "records are one row of 16 bytes each, not %d dimensions of %zd bytes each", view->ndim,
                 view->itemsize);
    return -1;
}

static uint32_t at_most(const ring_object *self, Py_ssize_t count) {
    return count < (Py_ssize_t)self->ring.capacity ? (uint32_t)count : self->ring.capacity;
}

static PyObject *put_records(ring_object *self, const preloader_record *records, Py_ssize_t count) {
    uint32_t put = is_closed(self) ? 0 : preloader_ring_put_many(&self->ring, records, at_most(self, count));
    if (put) wake_sleepers(self);
    return PyLong_FromUnsignedLong(put);
}

static PyObject *put_buffer(ring_object *self, PyObject *source) {
    Py_buffer view;
    if (PyObject_GetBuffer(source, &view, PyBUF_ND) < 0) return NULL;
    PyObject *put = NULL;
    Py_ssize_t count = records_in(&view);
    if (count >= 0 && (uintptr_t)view.buf % _Alignof(preloader_record) == 0) {
        put = put_records(self, view.buf, count);
    } else if (count >= 0) {
        preloader_record *copy = PyMem_Malloc((size_t)at_most(self, count) * sizeof *copy + 1);
        if (copy) {
            memcpy(copy, view.buf, (size_t)at_most(self, count) * sizeof *copy);
            put = put_records(self, copy, count);
        } else {
            PyErr_NoMemory();
        }
        PyMem_Free(copy);
    }
    PyBuffer_Release(&view);
    return put;
}

PyDoc_STRVAR(put_many_doc, "put_many($self, records, /)\n--\n\n"
             "Put the first of several records, as many as there is room for, together; return how many.\n\n"
             "Args:\n    records: A NumPy array of `DTYPE`, packed bytes, or a sequence of records.\n\n"
             "Raises:\n    ValueError: A field is out of its range; nothing was put then.");

static PyObject *put_many(ring_object *self, PyObject *source) {
    if (PyObject_CheckBuffer(source)) return put_buffer(self, source);
    PyObject *items = PySequence_Tuple(source); /* a list might change while it is read */
    if (!items) return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    preloader_record *records = PyMem_New(preloader_record, count + 1);
    PyObject *put = NULL;
    if (!records) {
        PyErr_NoMemory();
    } else {
        Py_ssize_t at = 0;
        while (at < count && read_record(self->state, PyTuple_GET_ITEM(items, at), &records[at]) == 0) at++;
        if (at == count) put = put_records(self, records, count);
    }
    PyMem_Free(records);
    Py_DECREF(items);
    return put;
}

/* --- Getting --------------------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(try_get_doc, "try_get($self, /)\n--\n\nTake the oldest record; None where there is none.");

static PyObject *try_get(ring_object *self, PyObject *Py_UNUSED(ignored)) {
    preloader_record record;
    if (!preloader_ring_try_get(&self->ring, &record)) Py_RETURN_NONE;
    return make_record(self->state, &record);
}

static PyObject *make_array(const module_state *state, uint32_t count) {
    if (!state->empty) return PyErr_Format(PyExc_ImportError, "NumPy cannot be imported here: give out");
    PyObject *length = PyLong_FromUnsignedLong(count);
    PyObject *array = length ? PyObject_CallFunctionObjArgs(state->empty, length, state->dtype, NULL) : NULL;
    Py_XDECREF(length);
    return array;
}

/* Fill a row of records as far as there are any, at most `most`; return that part of it. */
static PyObject *fill(ring_object *self, PyObject *array, Py_ssize_t most) {
    Py_buffer view;
    if (PyObject_GetBuffer(array, &view, PyBUF_CONTIG) < 0) return NULL;
    Py_ssize_t room = records_in(&view), taken = -1;
    if (room >= 0 && (view.itemsize == 1 || (uintptr_t)view.buf % _Alignof(preloader_record)))
        PyErr_SetString(PyExc_ValueError, "out must be an aligned row of records");
    else if (room >= 0)
        taken = preloader_ring_get_many(&self->ring, view.buf, at_most(self, most < room ? most : room));
    PyBuffer_Release(&view);
    if (taken < 0) return NULL;
    return taken == room ? Py_NewRef(array) : PySequence_GetSlice(array, 0, taken);
}

static int read_count(PyObject *argument, Py_ssize_t *count) {
    *count = PyNumber_AsSsize_t(argument, PyExc_OverflowError);
    if (*count == -1 && PyErr_Occurred()) return -1;
    if (*count >= 0) return 0;
    PyErr_Format(PyExc_ValueError, "n must be at least 0, not %zd", *count);
    return -1;
}

PyDoc_STRVAR(get_many_doc, "get_many($self, n, out=None)\n--\n\n"
             "Take up to ``n`` records, oldest first, as a NumPy array of `DTYPE`.\n\n"
             "Args:\n    n: How many at most.\n    out: An array to fill and return the filled part of, instead of a new one.\n\n"
             "Raises:\n    ValueError: ``n`` is negative, or ``out`` is no aligned row of records.");

static PyObject *get_many(ring_object *self, PyObject *args, PyObject *names) {
    static char *keywords[] = {"n", "out", NULL};
    PyObject *n, *out = Py_None;
    Py_ssize_t count;
    if (!PyArg_ParseTupleAndKeywords(args, names, "O|O:get_many", keywords, &n, &out) || read_count(n, &count) < 0) return NULL;
    if (out != Py_None) return fill(self, out, count);
    uint32_t waiting = preloader_ring_length(&self->ring), most = at_most(self, count);
    PyObject *array = make_array(self->state, waiting < most ? waiting : most);
    PyObject *filled = array ? fill(self, array, count) : NULL;
    Py_XDECREF(array);
    return filled;
}

PyDoc_STRVAR(get_records_doc, "get_records($self, n, /)\n--\n\nTake up to ``n`` records, oldest first, as `Record` tuples.");

static PyObject *get_records(ring_object *self, PyObject *argument) {
    preloader_record chunk[CHUNK];
    Py_ssize_t left;
    if (read_count(argument, &left) < 0) return NULL;
    PyObject *taken = PyList_New(0);
    uint32_t found = 1;
    for (; taken && left && found; left -= found) {
        found = preloader_ring_get_many(&self->ring, chunk, left < CHUNK ? (uint32_t)left : CHUNK);
        for (uint32_t at = 0; taken && at < found; at++) {
            PyObject *record = make_record(self->state, &chunk[at]);
            if (!record || PyList_Append(taken, record) < 0) Py_CLEAR(taken);
            Py_XDECREF(record);
        }
    }
    return taken;
}

/* --- Size, producers that die, closing --------------------------------------------------------------------------------- */

static Py_ssize_t length(PyObject *self) { return preloader_ring_length(&((ring_object *)self)->ring); }

static PyObject *get_capacity(ring_object *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLong(preloader_ring_capacity(&self->ring));
}

static PyObject *get_limit(ring_object *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLong(preloader_ring_limit(&self->ring));
}

static int set_limit(ring_object *self, PyObject *value, void *Py_UNUSED(closure)) {
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "a ring's limit cannot be deleted");
        return -1;
    }
    Py_ssize_t limit = PyNumber_AsSsize_t(value, NULL);
    if (limit == -1 && PyErr_Occurred()) return -1;
    if (limit < 0 || limit > (Py_ssize_t)self->ring.capacity) {
        PyErr_Format(PyExc_ValueError, "limit must lie between 0 and the capacity, %u, not %zd", self->ring.capacity, limit);
        return -1;
    }
    preloader_ring_set_limit(&self->ring, (uint32_t)limit);
    return 0;
}

static PyObject *get_closed(ring_object *self, void *Py_UNUSED(closure)) { return PyBool_FromLong(is_closed(self)); }

PyDoc_STRVAR(look_doc, "look($self, /)\n--\n\n"
             "Look at the oldest slot: 'empty', 'ready', 'claimed' (being put) or 'damaged', and its position.");

static PyObject *look(ring_object *self, PyObject *Py_UNUSED(ignored)) {
    static const char *const names[] = {
        [PRELOADER_FRONT_EMPTY] = "empty",
        [PRELOADER_FRONT_READY] = "ready",
        [PRELOADER_FRONT_CLAIMED] = "claimed",
        [PRELOADER_FRONT_DAMAGED] = "damaged",
    };
    uint64_t position;
    preloader_ring_front front = preloader_ring_look(&self->ring, &position);
    return Py_BuildValue("sK", names[front], (unsigned long long)position);
}

PyDoc_STRVAR(skip_doc, "skip($self, position, /)\n--\n\n"
             "Give up the record that a producer claimed at ``position`` before it died; False where that is not the oldest.");

static PyObject *skip(ring_object *self, PyObject *argument) {
    unsigned long long position = PyLong_AsUnsignedLongLong(argument);
    if (position == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    return PyBool_FromLong(preloader_ring_skip(&self->ring, position));
}

PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
             "Refuse every put through this object from now on, and wake all who wait at it. What it holds can still be taken.");

static PyObject *ring_close(ring_object *self, PyObject *Py_UNUSED(ignored)) {
    atomic_store_explicit(&self->closed, true, memory_order_release);
    /* As a read-modify-write it comes before or after that of a new consumer, who then sees that the ring is closed. */
    uint32_t consumers = atomic_fetch_or_explicit(&self->consumers, 0, memory_order_acq_rel);
    if (consumers) wake(self, consumers);
    Py_RETURN_NONE;
}

/* --- Life ------------------------------------------------------------------------------------------------------------ */

static int refuse(preloader_ring_status status) {
    PyErr_SetString(PyExc_ValueError, preloader_ring_explain(status));
    return -1;
}

static int hold_buffer(ring_object *self, PyObject *buffer) {
    if (PyObject_GetBuffer(buffer, &self->buffer, PyBUF_WRITABLE) == 0) return 0;
    self->buffer.obj = NULL;
    return -1;
}

static int init_ring(ring_object *self, uint32_t capacity, PyObject *buffer) {
    preloader_ring_status status;
    if (buffer != Py_None) {
        if (hold_buffer(self, buffer) < 0) return -1;
        status = preloader_ring_init(&self->ring, self->buffer.buf, (size_t)self->buffer.len, capacity);
    } else {
        size_t bytes = preloader_ring_bytes(capacity), align = PRELOADER_RING_ALIGNMENT;
        self->memory = aligned_alloc(align, (bytes + align - 1) / align * align);
        if (!self->memory) {
            PyErr_NoMemory();
            return -1;
        }
        status = preloader_ring_init(&self->ring, self->memory, bytes, capacity);
    }
    return status == PRELOADER_RING_OK ? 0 : refuse(status);
}

static int attach_ring(ring_object *self, PyObject *buffer) {
    if (hold_buffer(self, buffer) < 0) return -1;
    preloader_ring_status status = preloader_ring_attach(&self->ring, self->buffer.buf, (size_t)self->buffer.len);
    return status == PRELOADER_RING_OK ? 0 : refuse(status);
}

static ring_object *allocate(PyTypeObject *type, PyObject *wake_fd) {
    ring_object *self = (ring_object *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->state = PyType_GetModuleState(type);
    self->shared_fd = -1;
    for (int bit = 0; bit < MAX_CONSUMERS; bit++) {
        atomic_init(&self->wakeups[bit].read_fd, -1);
        atomic_init(&self->wakeups[bit].write_fd, -1);
    }
    if (wake_fd == Py_None) return self;
    int fd = PyObject_AsFileDescriptor(wake_fd);
    if (fd >= 0 && (self->shared_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) >= 0) return self;
    if (!PyErr_Occurred()) PyErr_SetFromErrno(PyExc_OSError);
    Py_DECREF(self);
    return NULL;
}

static PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *names) {
    static char *keywords[] = {"capacity", "buffer", "wake_fd", NULL};
    PyObject *buffer = Py_None, *wake_fd = Py_None;
    Py_ssize_t capacity;
    if (!PyArg_ParseTupleAndKeywords(args, names, "n|$OO:Ring", keywords, &capacity, &buffer, &wake_fd)) return NULL;
    if (capacity < 1) return PyErr_Format(PyExc_ValueError, "a ring holds at least 1 record, not %zd", capacity);
    if (capacity > PRELOADER_RING_MAX_CAPACITY)
        return PyErr_Format(PyExc_ValueError, "a ring holds at most %u records, not %zd", PRELOADER_RING_MAX_CAPACITY, capacity);
    ring_object *self = allocate(type, wake_fd);
    if (self && init_ring(self, (uint32_t)capacity, buffer) < 0) Py_CLEAR(self);
    return (PyObject *)self;
}

PyDoc_STRVAR(attach_doc, "attach($type, buffer, *, wake_fd=None)\n--\n\n"
             "Return a ring on memory in which somebody else made one. The memory is not trusted.\n\n"
             "Raises:\n    ValueError: There is no ring in it, or a damaged one.");

static PyObject *attach(PyTypeObject *type, PyObject *args, PyObject *names) {
    static char *keywords[] = {"buffer", "wake_fd", NULL};
    PyObject *buffer, *wake_fd = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, names, "O|$O:attach", keywords, &buffer, &wake_fd)) return NULL;
    ring_object *self = allocate(type, wake_fd);
    if (self && attach_ring(self, buffer) < 0) Py_CLEAR(self);
    return (PyObject *)self;
}

PyDoc_STRVAR(size_for_doc, "size_for(capacity, /)\n--\n\nReturn how many bytes of memory a ring needs.");

static PyObject *size_for(PyObject *Py_UNUSED(type), PyObject *argument) {
    Py_ssize_t capacity = PyNumber_AsSsize_t(argument, NULL);
    if (capacity == -1 && PyErr_Occurred()) return NULL;
    if (capacity >= 1 && capacity <= PRELOADER_RING_MAX_CAPACITY) return PyLong_FromSize_t(preloader_ring_bytes((uint32_t)capacity));
    return PyErr_Format(PyExc_ValueError, "a ring holds 1 to %u records, not %zd", PRELOADER_RING_MAX_CAPACITY, capacity);
}

/* There is no clear: a ring without its memory could not be used, and what exports memory breaks a cycle itself. */
static int traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((ring_object *)self)->buffer.obj);
    return 0;
}

static void dealloc(ring_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak_references) PyObject_ClearWeakRefs((PyObject *)self);
    for (int bit = 0; bit < MAX_CONSUMERS; bit++) {
        int read_fd = atomic_load(&self->wakeups[bit].read_fd), write_fd = atomic_load(&self->wakeups[bit].write_fd);
        if (read_fd >= 0) close(read_fd);
        if (write_fd >= 0 && write_fd != read_fd) close(write_fd);
    }
    if (self->shared_fd >= 0) close(self->shared_fd);
    if (self->buffer.obj) PyBuffer_Release(&self->buffer);
    free(self->memory);
    type->tp_free(self);
    Py_DECREF(type);
}

#define METHOD(function, flags) (PyCFunction)(void (*)(void))function, flags

static PyMethodDef methods[] = {
    {"try_put", METHOD(try_put, METH_FASTCALL | METH_KEYWORDS), try_put_doc},
    {"put_many", METHOD(put_many, METH_O), put_many_doc},
    {"try_get", METHOD(try_get, METH_NOARGS), try_get_doc},
    {"get_many", METHOD(get_many, METH_VARARGS | METH_KEYWORDS), get_many_doc},
    {"get_records", METHOD(get_records, METH_O), get_records_doc},
    {"look", METHOD(look, METH_NOARGS), look_doc},
    {"skip", METHOD(skip, METH_O), skip_doc},
    {"open_consumer", METHOD(open_consumer, METH_NOARGS), open_consumer_doc},
    {"close_consumer", METHOD(close_consumer, METH_O), close_consumer_doc},
    {"fileno", METHOD(ring_fileno, METH_O), fileno_doc},
    {"arm", METHOD(ring_arm, METH_O), arm_doc},
    {"clear", METHOD(ring_clear, METH_O), clear_doc},
    {"close", METHOD(ring_close, METH_NOARGS), close_doc},
    {"attach", METHOD(attach, METH_CLASS | METH_VARARGS | METH_KEYWORDS), attach_doc},
    {"size_for", METHOD(size_for, METH_STATIC | METH_O), size_for_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"capacity", (getter)get_capacity, NULL, PyDoc_STR("How many records it can hold."), NULL},
    {"limit", (getter)get_limit, (setter)set_limit,
     PyDoc_STR("How many records it may hold now: 0 to the capacity. What is in it stays."), NULL},
    {"closed", (getter)get_closed, NULL, PyDoc_STR("Whether this object was closed."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ring_object, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(ring_doc, "Ring(capacity, *, buffer=None, wake_fd=None)\n--\n\n"
             "A bounded queue of records; any number of threads may put and get. See `preloader.ring.twin.Ring`.");

static PyType_Slot ring_slots[] = {
    {Py_tp_doc, (void *)ring_doc},     {Py_tp_new, (void *)ring_new}, {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_traverse, (void *)traverse}, {Py_tp_methods, methods},      {Py_tp_getset, properties},
    {Py_tp_members, members},          {Py_sq_length, (void *)length}, {0, NULL},
};

static PyType_Spec ring_spec = {
    .name = "preloader.ring._native.Ring",
    .basicsize = sizeof(ring_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ring_slots,
};

/* --- The module ------------------------------------------------------------------------------------------------------ */

static int find_record(module_state *state) {
    PyObject *records = PyImport_ImportModule("preloader.ring.record");
    if (!records) return -1;
    state->record_type = PyObject_GetAttrString(records, "Record");
    state->dtype = PyObject_GetAttrString(records, "DTYPE");
    Py_DECREF(records);
    if (!state->record_type || !state->dtype) return -1;
    if (PyType_Check(state->record_type) && PyType_IsSubtype((PyTypeObject *)state->record_type, &PyTuple_Type)) return 0;
    PyErr_SetString(PyExc_TypeError, "preloader.ring.record.Record must be a tuple type");
    return -1;
}

static int find_numpy(module_state *state) {
    PyObject *numpy = PyImport_ImportModule("numpy");
    if (numpy) {
        state->empty = PyObject_GetAttrString(numpy, "empty");
        Py_DECREF(numpy);
        return state->empty ? 0 : -1;
    }
    if (!PyErr_ExceptionMatches(PyExc_ImportError)) return -1;
    PyErr_Clear(); /* an interpreter with a GIL of its own: NumPy refuses those */
    return 0;
}

static int fill_module(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    if (find_record(state) < 0 || find_numpy(state) < 0) return -1;
    state->ring_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &ring_spec, NULL);
    return state->ring_type ? PyModule_AddType(module, state->ring_type) : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    module_state *state = PyModule_GetState(module);
    Py_VISIT(state->ring_type);
    Py_VISIT(state->record_type);
    Py_VISIT(state->empty);
    Py_VISIT(state->dtype);
    return 0;
}

static int module_clear(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->ring_type);
    Py_CLEAR(state->record_type);
    Py_CLEAR(state->empty);
    Py_CLEAR(state->dtype);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)fill_module},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "preloader.ring._native",
    .m_doc = PyDoc_STR("The lock-free ring; preloader.ring.twin says the same in Python."),
    .m_size = sizeof(module_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }
