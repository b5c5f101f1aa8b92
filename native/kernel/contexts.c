/* Hashes of contexts, the rows that they have, and the marks that a session leaves. */

#include "kernel.h"

#include <string.h>

enum { MOST_INGREDIENTS = 64 }; /* of a hash */

static PyObject *recall(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*q" "qqq", args, given, 3) < 0) return NULL;
    Py_ssize_t slot = PyLong_AsSsize_t(args[4]), latest = PyLong_AsSsize_t(args[5]), items = PyLong_AsSsize_t(args[6]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    int64_t *found = DATA(int64_t, 0);
    if (arrays.views[0].ndim != 2) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t horizon = arrays.views[0].shape[0], contexts = arrays.views[0].shape[1], cells = horizon * contexts;
    if (cells < 1 || LENGTH(1) % cells || LENGTH(2) != LENGTH(1) || slot < 0 || slot >= LENGTH(1) / cells ||
        latest < 0 || latest >= horizon || items < 0 || items > horizon)
        return finish(&arrays, BAD_SHAPES);
    const int64_t *rows = DATA(int64_t, 1) + slot * cells, *hashes = DATA(int64_t, 2) + slot * cells;
    const int64_t *row_hashes = DATA(int64_t, 3);
    memset(found, 0, (size_t)cells * sizeof *found);
    for (Py_ssize_t step = 0; step < items; step++) {
        Py_ssize_t from = (latest - step + horizon) % horizon * contexts;
        for (Py_ssize_t context = 0; context < contexts; context++) {
            int64_t row = rows[from + context];
            if (row < 0 || row >= LENGTH(3)) return finish(&arrays, BAD_INDEX);
            if (row_hashes[row] == hashes[from + context]) found[step * contexts + context] = row;
        }
    }
    return finish(&arrays, NULL);
}

#ifndef __SIZEOF_INT128__
#error "sums of 128 bits are wanted: without them the NumPy twin serves"
#endif
typedef unsigned __int128 Wide;

static PyObject *mix(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    Wide products[MOST_INGREDIENTS];
    (void)self;
    if (open_arrays(&arrays, "UUB", args, given, 1) < 0) return NULL;
    const uint64_t *multipliers = DATA(uint64_t, 0), *starts = DATA(uint64_t, 1);
    const uint8_t *members = DATA(uint8_t, 2);
    Py_ssize_t ingredients = LENGTH(0), templates = LENGTH(1);
    PyObject *found = NULL, *values = args[3];
    if (!PyTuple_Check(values) || PyTuple_GET_SIZE(values) != ingredients || ingredients > MOST_INGREDIENTS ||
        LENGTH(2) != templates * ingredients)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t one = 0; one < ingredients; one++)
        products[one] = (Wide)PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(values, one)) * multipliers[one];
    if (!PyErr_Occurred()) found = PyList_New(templates);
    for (Py_ssize_t at = 0; found != NULL && at < templates; at++) {
        Wide sum = starts[at];
        for (Py_ssize_t one = 0; one < ingredients; one++)
            if (members[at * ingredients + one]) sum += products[one];
        uint64_t mixed = ((uint64_t)sum ^ (uint64_t)(sum >> 32)) & (((uint64_t)1 << 62) - 1);
        PyObject *number = PyLong_FromUnsignedLongLong(mixed);
        if (number == NULL) Py_CLEAR(found);
        else PyList_SET_ITEM(found, at, number);
    }
    close_arrays(&arrays);
    return found;
}

/* Return a new reference to the value of a key, or NULL if there is none or an error is set. */
static PyObject *value_of(PyObject *dict, PyObject *key) {
    PyObject *value = NULL;
#if PY_VERSION_HEX >= 0x030D0000
    if (PyDict_GetItemRef(dict, key, &value) < 0) return NULL;
#else
    value = PyDict_GetItemWithError(dict, key);
    Py_XINCREF(value);
#endif
    return value;
}

static PyObject *find(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*q", args, given, 2) < 0) return NULL;
    PyObject *rows = args[1], *hashes = args[2];
    if (!PyDict_Check(rows) || !PyList_Check(hashes) || PyList_GET_SIZE(hashes) != LENGTH(0))
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t at = 0; at < LENGTH(0); at++) {
        PyObject *row = value_of(rows, PyList_GET_ITEM(hashes, at));
        DATA(int64_t, 0)[at] = row == NULL ? 0 : PyLong_AsLongLong(row);
        Py_XDECREF(row);
        if (PyErr_Occurred()) {
            close_arrays(&arrays);
            return NULL;
        }
    }
    return finish(&arrays, NULL);
}

typedef struct {
    int32_t *numbers;
    int8_t *slots;
    Py_ssize_t held, most;
} Marks;

static void add_mark(Marks *marks, int32_t number, int slot) {
    if (number == 0 || marks->held == marks->most) return; /* unknown keys leave no mark */
    marks->numbers[marks->held] = number;
    marks->slots[marks->held++] = (int8_t)slot;
}

static PyObject *mark(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    enum { MOST_ITEMS = 256 };
    Arrays arrays;
    int32_t came[MOST_ITEMS];
    Py_ssize_t counts[MOST_ITEMS]; /* of a number, where it stands first; 0 elsewhere */
    (void)self;
    if (open_arrays(&arrays, "*i*bbb", args, given, 3) < 0) return NULL;
    PyObject *numbers = args[4];
    long followed = PyLong_AsLong(args[5]), most_times = PyLong_AsLong(args[6]);
    Marks marks = {DATA(int32_t, 0), DATA(int8_t, 1), 0, LENGTH(0)};
    const int8_t *age_slots = DATA(int8_t, 2), *count_slots = DATA(int8_t, 3);
    Py_ssize_t oldest = LENGTH(2) - 1, oftenest = LENGTH(3) - 1;
    if (PyErr_Occurred()) PyErr_Clear(), followed = -1;
    Py_ssize_t items = PyList_Check(numbers) ? PyList_GET_SIZE(numbers) : MOST_ITEMS + 1;
    if (items > MOST_ITEMS || LENGTH(1) != LENGTH(0) || oldest < 0 || oftenest < 2 || followed < 0 || most_times < 0 ||
        followed + 2 * most_times > INT8_MAX)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t age = 0; age < items; age++) {
        long number = PyLong_AsLong(PyList_GET_ITEM(numbers, age));
        if (PyErr_Occurred()) PyErr_Clear(), number = -1;
        if (number < 0 || number > INT32_MAX) return finish(&arrays, BAD_INDEX);
        Py_ssize_t before = 0;
        while (before < age && came[before] != number) before++;
        came[age] = (int32_t)number;
        counts[age] = 0;
        counts[before]++;
        if (before == age) add_mark(&marks, came[age], age_slots[age < oldest ? age : oldest]);
    }
    for (Py_ssize_t age = 0; age < items; age++)
        if (counts[age] > 1) add_mark(&marks, came[age], count_slots[counts[age] < oftenest ? counts[age] : oftenest]);
    long times = 0;
    for (Py_ssize_t place = 1; place < items && times < most_times; place++) {
        if (came[place] != came[0]) continue;
        int same_before = place + 1 < items && came[place + 1] == came[1];
        add_mark(&marks, came[place - 1], (int)(followed + times + most_times * same_before));
        times++;
    }
    close_arrays(&arrays);
    return PyLong_FromSsize_t(marks.held);
}

PyMethodDef contexts_functions[] = {
    FUNCTION(recall, "Find the rows of the latest contexts; see twin.recall."),
    FUNCTION(mix, "Hash contexts; see twin.mix."),
    FUNCTION(find, "Find the rows of contexts; see twin.find."),
    FUNCTION(mark, "Note what a session says itself; see twin.mark."),
    {NULL, NULL, 0, NULL},
};
