/* How a ring is made, in memory of its own or of the caller's, and how it goes. */
#include "binding.h"

#include <fcntl.h>
#include <stdlib.h>

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

PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *names) {
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

PyObject *ring_attach(PyTypeObject *type, PyObject *args, PyObject *names) {
    static char *keywords[] = {"buffer", "wake_fd", NULL};
    PyObject *buffer, *wake_fd = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, names, "O|$O:attach", keywords, &buffer, &wake_fd)) return NULL;
    ring_object *self = allocate(type, wake_fd);
    if (self && attach_ring(self, buffer) < 0) Py_CLEAR(self);
    return (PyObject *)self;
}

PyObject *ring_size_for(PyObject *Py_UNUSED(type), PyObject *argument) {
    Py_ssize_t capacity = PyNumber_AsSsize_t(argument, NULL);
    if (capacity == -1 && PyErr_Occurred()) return NULL;
    if (capacity >= 1 && capacity <= PRELOADER_RING_MAX_CAPACITY) return PyLong_FromSize_t(preloader_ring_bytes((uint32_t)capacity));
    return PyErr_Format(PyExc_ValueError, "a ring holds 1 to %u records, not %zd", PRELOADER_RING_MAX_CAPACITY, capacity);
}

/* There is no clear: a ring without its memory could not be used, and what exports memory breaks a cycle itself. */
int ring_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((ring_object *)self)->buffer.obj);
    return 0;
}

void ring_dealloc(ring_object *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak_references) PyObject_ClearWeakRefs((PyObject *)self);
    close_descriptors(self);
    if (self->buffer.obj) PyBuffer_Release(&self->buffer);
    free(self->memory);
    type->tp_free(self);
    Py_DECREF(type);
}
