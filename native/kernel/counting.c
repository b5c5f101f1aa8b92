/* Counting which keys came after a context. */

#include "kernel.h"

enum { FULL = 96 }; /* of counts.py */

static void summarise(const uint8_t *counts, int16_t *summary, Py_ssize_t horizon) {
    for (Py_ssize_t step = 0; step < horizon; step++) {
        int total = 0, top = 0;
        for (int place = 0; place < SUCCESSORS; place++) {
            int count = counts[step * SUCCESSORS + place];
            total += count;
            top = count > top ? count : top;
        }
        summary[step] = (int16_t)(total * COUNT_RANGE + top);
    }
}

/* Return the place of a key in a row, after making room for it if it has none. */
static int place_of(int32_t *keys, uint8_t *counts, int16_t *summary, Py_ssize_t horizon, int32_t key) {
    int least = 0, weakest = 0, fewest = INT32_MAX;
    for (int place = 0; place < SUCCESSORS; place++) {
        if (keys[place] == key) return place;
        if (keys[place] < keys[least]) least = place;
    }
    if (keys[least] > 0) {
        for (int place = 0; place < SUCCESSORS; place++) {
            int total = 0;
            for (Py_ssize_t step = 0; step < horizon; step++) total += counts[step * SUCCESSORS + place];
            if (total < fewest) {
                fewest = total;
                weakest = place;
            }
        }
        least = weakest;
        for (Py_ssize_t step = 0; step < horizon; step++) counts[step * SUCCESSORS + least] = 0;
        summarise(counts, summary, horizon);
    }
    keys[least] = key;
    return least;
}

static PyObject *count(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*i*B*hq", args, given, 2) < 0) return NULL;
    long key = PyLong_AsLong(args[4]), contexts = PyLong_AsLong(args[5]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    int32_t *keys = DATA(int32_t, 0);
    uint8_t *counts = DATA(uint8_t, 1);
    int16_t *summary = DATA(int16_t, 2);
    const int64_t *rows = DATA(int64_t, 3);
    Py_ssize_t known = LENGTH(0) / SUCCESSORS, cells = LENGTH(3);
    if (known < 1 || contexts < 1 || cells % contexts || key < 1 || key > INT32_MAX) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t horizon = LENGTH(2) / known, steps = cells / contexts;
    if (LENGTH(0) != known * SUCCESSORS || LENGTH(2) != known * horizon || LENGTH(1) != LENGTH(2) * SUCCESSORS ||
        steps > horizon)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t cell = 0; cell < cells; cell++)
        if (rows[cell] < 0 || rows[cell] >= known) return finish(&arrays, BAD_INDEX);
    int any_full = 0;
    for (Py_ssize_t cell = 0; cell < cells; cell++) {
        Py_ssize_t row = rows[cell], step = cell / contexts;
        if (row == 0) continue; /* nobody's */
        uint8_t *of_row = counts + row * horizon * SUCCESSORS;
        int16_t *told = summary + row * horizon;
        int place = place_of(keys + row * SUCCESSORS, of_row, told, horizon, (int32_t)key);
        uint8_t *counted = &of_row[step * SUCCESSORS + place];
        int total = told[step] / COUNT_RANGE + 1, top = told[step] % COUNT_RANGE;
        *counted = (uint8_t)(*counted + 1);
        told[step] = (int16_t)(total * COUNT_RANGE + (*counted > top ? *counted : top));
        any_full |= total >= FULL;
    }
    for (Py_ssize_t cell = 0; any_full && cell < cells; cell++) {
        Py_ssize_t row = rows[cell];
        if (summary[row * horizon + cell / contexts] / COUNT_RANGE < FULL) continue;
        uint8_t *of_row = counts + row * horizon * SUCCESSORS;
        for (Py_ssize_t at = 0; at < horizon * SUCCESSORS; at++) of_row[at] >>= 1;
        summarise(of_row, summary + row * horizon, horizon);
    }
    return finish(&arrays, NULL);
}

PyMethodDef counting_functions[] = {
    FUNCTION(count, "Count that a key came after contexts; see twin.count."),
    {NULL, NULL, 0, NULL},
};
