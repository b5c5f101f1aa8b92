/* Records on their way into a ring and out of it: one by one, as sequences, and as NumPy arrays or packed bytes. */
#include "binding.h"

enum { CHUNK = 64 };

static PyObject *put_one(ring_object *self, const preloader_record *record) {
    if (is_closed(self) || !preloader_ring_try_put(&self->ring, record)) Py_RETURN_FALSE;
    wake_sleepers(self);
    Py_RETURN_TRUE;
}

PyObject *ring_try_put(ring_object *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
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

PyObject *ring_put_many(ring_object *self, PyObject *source) {
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

PyObject *ring_try_get(ring_object *self, PyObject *Py_UNUSED(ignored)) {
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

PyObject *ring_get_many(ring_object *self, PyObject *args, PyObject *names) {
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

PyObject *ring_get_records(ring_object *self, PyObject *argument) {
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
