/* What was known before a session's latest items. */

#include "kernel.h"

#include <string.h>

enum { NO_MARK = 21 }; /* of recency.py */

static PyObject *remember(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*i*i*q*q*i*b*i*I*i" "qqibI", args, given, 1) < 0) return NULL;
    Py_ssize_t slot = PyLong_AsSsize_t(args[14]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    if (arrays.views[2].ndim != 3) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t slots = arrays.views[2].shape[0], horizon = arrays.views[2].shape[1], contexts = arrays.views[2].shape[2];
    Py_ssize_t cells = slots * horizon, noted = LENGTH(11), heard = LENGTH(13);
    if (cells < 1 || slot < 0 || slot >= slots) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t most_marks = LENGTH(4) / cells, most_words = LENGTH(7) / cells;
    if (LENGTH(0) != slots || LENGTH(1) != slots || LENGTH(3) != cells * contexts || LENGTH(4) != cells * most_marks ||
        LENGTH(5) != LENGTH(4) || LENGTH(6) != cells || LENGTH(7) != cells * most_words || LENGTH(8) != cells ||
        LENGTH(9) != contexts || LENGTH(10) != contexts || noted > most_marks || LENGTH(12) != noted ||
        heard > most_words)
        return finish(&arrays, BAD_SHAPES);
    int32_t *items = DATA(int32_t, 0) + slot, *latest = DATA(int32_t, 1) + slot;
    if (*items < 0 || *items > horizon || *latest < 0 || *latest >= horizon) return finish(&arrays, BAD_INDEX);
    *items += *items < horizon;
    *latest = (int32_t)((*latest + 1) % horizon);
    Py_ssize_t cell = slot * horizon + *latest;
    memcpy(DATA(int64_t, 2) + cell * contexts, DATA(int64_t, 9), (size_t)contexts * sizeof(int64_t));
    memcpy(DATA(int64_t, 3) + cell * contexts, DATA(int64_t, 10), (size_t)contexts * sizeof(int64_t));
    int32_t *marked = DATA(int32_t, 4) + cell * most_marks;
    int8_t *marks = DATA(int8_t, 5) + cell * most_marks;
    memcpy(marked, DATA(int32_t, 11), (size_t)noted * sizeof(int32_t));
    memset(marked + noted, 0, (size_t)(most_marks - noted) * sizeof(int32_t));
    memcpy(marks, DATA(int8_t, 12), (size_t)noted);
    memset(marks + noted, NO_MARK, (size_t)(most_marks - noted));
    DATA(int32_t, 6)[cell] = (int32_t)noted;
    memcpy(DATA(uint32_t, 7) + cell * most_words, DATA(uint32_t, 13), (size_t)heard * sizeof(uint32_t));
    DATA(int32_t, 8)[cell] = (int32_t)heard;
    long on_record = *items;
    close_arrays(&arrays);
    return PyLong_FromLong(on_record);
}

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

PyMethodDef sessions_functions[] = {
    FUNCTION(remember, "Note what is known before an item; see twin.remember."),
    FUNCTION(recall, "Find the rows of the latest contexts; see twin.recall."),
    {NULL, NULL, 0, NULL},
};
