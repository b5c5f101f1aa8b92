/* Records as Python objects: read from a Record, a tuple or separate fields, and made. */
#include "binding.h"

#include <math.h>

enum { FIELDS = 6, REQUIRED_FIELDS = 3 };
static const double PROBABILITY_ONE = 65535.0;

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

bool read_fields(PyObject *const *fields, Py_ssize_t count, preloader_record *record) {
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

int pack_fields(PyObject *made, preloader_record *record) {
    PyObject *packed = PyObject_CallMethod(made, "pack", NULL);
    if (!packed) return -1;
    int bad = !PyBytes_Check(packed) || PyBytes_GET_SIZE(packed) != sizeof *record;
    if (bad) PyErr_SetString(PyExc_TypeError, "Record.pack must return a record's 16 bytes");
    else memcpy(record, PyBytes_AS_STRING(packed), sizeof *record);
    Py_DECREF(packed);
    return bad ? -1 : 0;
}

int read_record(const module_state *state, PyObject *value, preloader_record *record) {
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

PyObject *make_record(const module_state *state, const preloader_record *record) {
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
