/* The type `Ring`: its methods and what they say, and its properties. */
#include "binding.h"

#include <structmember.h>

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

static PyObject *skip(ring_object *self, PyObject *argument) {
    unsigned long long position = PyLong_AsUnsignedLongLong(argument);
    if (position == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    return PyBool_FromLong(preloader_ring_skip(&self->ring, position));
}

#define METHOD(function, flags) (PyCFunction)(void (*)(void))function, flags

static PyMethodDef methods[] = {
    {"try_put", METHOD(ring_try_put, METH_FASTCALL | METH_KEYWORDS),
     PyDoc_STR("try_put($self, /, *record)\n--\n\n"
               "Put one record, given as a `Record` or field by field; False where the ring is full, or closed.\n\n"
               "Raises:\n    ValueError: A field is out of its range.")},
    {"put_many", METHOD(ring_put_many, METH_O),
     PyDoc_STR("put_many($self, records, /)\n--\n\n"
               "Put the first of several records, as many as there is room for, together; return how many.\n\n"
               "Args:\n    records: A NumPy array of `DTYPE`, packed bytes, or a sequence of records.\n\n"
               "Raises:\n    ValueError: A field is out of its range; nothing was put then.")},
    {"try_get", METHOD(ring_try_get, METH_NOARGS),
     PyDoc_STR("try_get($self, /)\n--\n\nTake the oldest record; None where there is none.")},
    {"get_many", METHOD(ring_get_many, METH_VARARGS | METH_KEYWORDS),
     PyDoc_STR("get_many($self, n, out=None)\n--\n\n"
               "Take up to ``n`` records, oldest first, as a NumPy array of `DTYPE`.\n\n"
               "Args:\n    n: How many at most.\n    out: An array to fill and return the filled part of, instead of a new one.\n\n"
               "Raises:\n    ValueError: ``n`` is negative, or ``out`` is no aligned row of records.")},
    {"get_records", METHOD(ring_get_records, METH_O),
     PyDoc_STR("get_records($self, n, /)\n--\n\nTake up to ``n`` records, oldest first, as `Record` tuples.")},
    {"look", METHOD(look, METH_NOARGS),
     PyDoc_STR("look($self, /)\n--\n\n"
               "Look at the oldest slot: 'empty', 'ready', 'claimed' (being put) or 'damaged', and its position.")},
    {"skip", METHOD(skip, METH_O),
     PyDoc_STR("skip($self, position, /)\n--\n\n"
               "Give up the record that a producer claimed at ``position`` before it died; False where that is not the oldest.")},
    {"open_consumer", METHOD(ring_open_consumer, METH_NOARGS),
     PyDoc_STR("open_consumer($self, /)\n--\n\n"
               "Return the number of one more consumer that may sleep. See `preloader.ring.reader.Reader`, which uses it.")},
    {"close_consumer", METHOD(ring_close_consumer, METH_O),
     PyDoc_STR("close_consumer($self, consumer, /)\n--\n\nGive a consumer's number back.")},
    {"fileno", METHOD(ring_fileno, METH_O),
     PyDoc_STR("fileno($self, consumer, /)\n--\n\nReturn the descriptor that is readable once a consumer was woken.")},
    {"arm", METHOD(ring_arm, METH_O),
     PyDoc_STR("arm($self, consumer, /)\n--\n\n"
               "Ask to be woken at the next put; False where there is something to take, or nothing ever will be.")},
    {"clear", METHOD(ring_clear, METH_O),
     PyDoc_STR("clear($self, consumer, /)\n--\n\n"
               "Take the wake-ups that came for a consumer: dozens at most, so that nobody who floods a FIFO holds it up.")},
    {"close", METHOD(ring_close, METH_NOARGS),
     PyDoc_STR("close($self, /)\n--\n\n"
               "Refuse every put through this object from now on, and wake all who wait at it. What it holds can still be taken.")},
    {"attach", METHOD(ring_attach, METH_CLASS | METH_VARARGS | METH_KEYWORDS),
     PyDoc_STR("attach($type, buffer, *, wake_fd=None)\n--\n\n"
               "Return a ring on memory in which somebody else made one. The memory is not trusted.\n\n"
               "Raises:\n    ValueError: There is no ring in it, or a damaged one.")},
    {"size_for", METHOD(ring_size_for, METH_STATIC | METH_O),
     PyDoc_STR("size_for(capacity, /)\n--\n\nReturn how many bytes of memory a ring needs.")},
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
    {Py_tp_doc, (void *)ring_doc},
    {Py_tp_new, (void *)ring_new},
    {Py_tp_dealloc, (void *)ring_dealloc},
    {Py_tp_traverse, (void *)ring_traverse},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {Py_tp_members, members},
    {Py_sq_length, (void *)length},
    {0, NULL},
};

PyType_Spec ring_spec = {
    .name = "preloader.ring._native.Ring",
    .basicsize = sizeof(ring_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ring_slots,
};
