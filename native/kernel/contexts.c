/* What contexts are made of: a session's items and their marks, and the hashes of contexts. */

#include "kernel.h"

#include <string.h>

enum { MOST_INGREDIENTS = 64 }; /* of a hash */

#ifndef __SIZEOF_INT128__
#error "sums of 128 bits are wanted: without them the NumPy twin serves"
#endif
typedef unsigned __int128 Wide;

static PyObject *mix(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    Wide products[MOST_INGREDIENTS];
    (void)self;
    if (open_arrays(&arrays, "*q" "UUB", args, given, 1) < 0) return NULL;
    const uint64_t *multipliers = DATA(uint64_t, 1), *starts = DATA(uint64_t, 2);
    const uint8_t *members = DATA(uint8_t, 3);
    Py_ssize_t ingredients = LENGTH(1), templates = LENGTH(2);
    PyObject *values = args[4];
    if (!PyTuple_Check(values) || PyTuple_GET_SIZE(values) != ingredients || ingredients > MOST_INGREDIENTS ||
        LENGTH(3) != templates * ingredients || LENGTH(0) != templates)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t one = 0; one < ingredients; one++)
        products[one] = (Wide)PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(values, one)) * multipliers[one];
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    for (Py_ssize_t at = 0; at < templates; at++) {
        Wide sum = starts[at];
        for (Py_ssize_t one = 0; one < ingredients; one++)
            if (members[at * ingredients + one]) sum += products[one];
        DATA(int64_t, 0)[at] = (int64_t)(((uint64_t)sum ^ (uint64_t)(sum >> 32)) & (((uint64_t)1 << 62) - 1));
    }
    return finish(&arrays, NULL);
}

static PyObject *past(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    (void)self;
    if (given != 4 || !PyList_Check(args[0]) || !PyUnicode_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "a list of tuples, a prefix and two numbers are wanted");
        return NULL;
    }
    Py_ssize_t most = PyLong_AsSsize_t(args[2]), run = 0;
    int running = 1;
    PyObject *found = PyErr_Occurred() ? NULL : PyList_New(0);
    if (found == NULL) return NULL;
    for (Py_ssize_t at = PyList_GET_SIZE(args[0]); at-- > 0 && PyList_GET_SIZE(found) < most;) {
        PyObject *used = PyList_GET_ITEM(args[0], at);
        if (!PyTuple_Check(used)) {
            Py_DECREF(found);
            PyErr_SetString(PyExc_TypeError, "the resources of an event are a tuple");
            return NULL;
        }
        running = running && PyTuple_GET_SIZE(used) > 0;
        run += running;
        for (Py_ssize_t one = PyTuple_GET_SIZE(used); one-- > 0 && PyList_GET_SIZE(found) < most;) {
            PyObject *key = PyTuple_GET_ITEM(used, one);
            int is_of_kind = PyUnicode_Check(key) ? (int)PyUnicode_Tailmatch(key, args[1], 0, PY_SSIZE_T_MAX, -1) : 0;
            if (is_of_kind < 0 || (is_of_kind && PyList_Append(found, key) < 0)) {
                Py_DECREF(found);
                return NULL;
            }
        }
    }
    long longest = PyLong_AsLong(args[3]);
    return Py_BuildValue("(Nn)", found, run < longest ? run : (Py_ssize_t)longest);
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
    FUNCTION(past, "Find a session's items of one kind; see twin.past."),
    FUNCTION(mix, "Hash contexts; see twin.mix."),
    FUNCTION(mark, "Note what a session says itself; see twin.mark."),
    {NULL, NULL, 0, NULL},
};
