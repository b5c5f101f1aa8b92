/* The chances that a key is used at all, soon and later. */

#include "kernel.h"

#include <string.h>

enum {
    NUMERIC = 3, /* of reuse.py */
    AGES = 9,
    HEADS = 2
};

static double log_odds(double missed, double edge) { return log((1.0 - missed + edge) / (missed + edge)); }

static PyObject *features(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*d*q" "dqdqb", args, given, 1) < 0) return NULL;
    double edge = PyFloat_AsDouble(args[7]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    double *table = DATA(double, 0);
    int64_t *ages = DATA(int64_t, 1);
    const double *probabilities = DATA(double, 2), *popularity = DATA(double, 4);
    const int64_t *columns = DATA(int64_t, 3), *mark_columns = DATA(int64_t, 5);
    const int8_t *marks = DATA(int8_t, 6);
    Py_ssize_t asked = LENGTH(1), size = LENGTH(4), horizon = size ? LENGTH(2) / size : 0;
    if (horizon < 1 || LENGTH(2) != horizon * size || LENGTH(0) != NUMERIC * asked || LENGTH(3) != asked ||
        LENGTH(5) % horizon || LENGTH(6) < LENGTH(5) / horizon)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t at = 0; at < asked; at++)
        if (columns[at] < 0 || columns[at] >= size) return finish(&arrays, BAD_INDEX);
    int8_t *age_of = PyMem_Malloc((size_t)size);
    if (age_of == NULL) {
        close_arrays(&arrays);
        return PyErr_NoMemory();
    }
    memset(age_of, AGES, (size_t)size);
    for (Py_ssize_t at = 0; at < LENGTH(5) / horizon; at++) {
        if (marks[at] >= AGES || marks[at] < 0) continue;
        if (mark_columns[at] < 0 || mark_columns[at] >= size) {
            PyMem_Free(age_of);
            return finish(&arrays, BAD_INDEX);
        }
        age_of[mark_columns[at]] = marks[at];
    }
    for (Py_ssize_t at = 0; at < asked; at++) {
        Py_ssize_t column = columns[at];
        double missed = 1.0;
        for (Py_ssize_t step = 0; step < horizon; step++) missed *= 1.0 - probabilities[step * size + column];
        table[at] = log_odds(missed, edge);
        table[asked + at] = log_odds(1.0 - probabilities[(horizon - 1) * size + column], edge);
        table[2 * asked + at] = popularity[column];
        ages[at] = age_of[column];
    }
    PyMem_Free(age_of);
    return finish(&arrays, NULL);
}

static PyObject *estimate(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*ddd" "q", args, given, 0) < 0) return NULL;
    double *chances = DATA(double, 0);
    const double *weights = DATA(double, 1), *table = DATA(double, 2);
    const int64_t *ages = DATA(int64_t, 3);
    Py_ssize_t asked = LENGTH(3), width = NUMERIC + AGES + 1;
    if (LENGTH(0) != HEADS * asked || LENGTH(1) != HEADS * width || LENGTH(2) != NUMERIC * asked)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t at = 0; at < asked; at++) {
        if (ages[at] < 0 || ages[at] > AGES) return finish(&arrays, BAD_INDEX);
        for (Py_ssize_t head = 0; head < HEADS; head++) {
            const double *weight = weights + head * width;
            double odds = weight[NUMERIC + ages[at]];
            for (Py_ssize_t one = 0; one < NUMERIC; one++) odds += weight[one] * table[one * asked + at];
            chances[head * asked + at] = 1.0 / (1.0 + exp(-odds));
        }
        if (chances[asked + at] < chances[at]) chances[asked + at] = chances[at];
    }
    return finish(&arrays, NULL);
}

static PyObject *note(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*ii", args, given, 3) < 0) return NULL;
    Py_ssize_t slot = PyLong_AsSsize_t(args[2]);
    long number = PyLong_AsLong(args[3]), passed = PyLong_AsLong(args[4]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    int32_t *used_after = DATA(int32_t, 0);
    const int32_t *numbers = DATA(int32_t, 1);
    Py_ssize_t width = arrays.views[0].ndim == 2 ? arrays.views[0].shape[1] : 0;
    if (LENGTH(0) != LENGTH(1) || slot < 0 || width < 1 || slot >= LENGTH(0) / width)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t at = slot * width; at < (slot + 1) * width; at++)
        if (numbers[at] == number && used_after[at] == 0) used_after[at] = (int32_t)passed;
    return finish(&arrays, NULL);
}

static PyObject *fit(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*d*d" "fbii", args, given, 3) < 0) return NULL;
    Py_ssize_t slot = PyLong_AsSsize_t(args[6]);
    long horizon = PyLong_AsLong(args[7]);
    double rate = PyFloat_AsDouble(args[8]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    enum { WIDTH = NUMERIC + AGES + 1 };
    double *weights = DATA(double, 0), *squares = DATA(double, 1), slopes[HEADS * WIDTH] = {0.0};
    Py_ssize_t width = arrays.views[4].ndim == 2 ? arrays.views[4].shape[1] : 0;
    if (width < 1 || slot < 0 || slot >= LENGTH(4) / width || LENGTH(5) != LENGTH(4) || LENGTH(3) != LENGTH(4) ||
        LENGTH(2) != NUMERIC * LENGTH(4) || LENGTH(0) != HEADS * WIDTH || LENGTH(1) != HEADS * WIDTH)
        return finish(&arrays, BAD_SHAPES);
    const float *table = DATA(float, 2) + slot * NUMERIC * width;
    const int8_t *ages = DATA(int8_t, 3) + slot * width;
    const int32_t *numbers = DATA(int32_t, 4) + slot * width, *used_after = DATA(int32_t, 5) + slot * width;
    for (Py_ssize_t at = 0; at < width; at++) {
        if (numbers[at] == 0) continue;
        if (ages[at] < 0 || ages[at] > AGES) return finish(&arrays, BAD_INDEX);
        for (Py_ssize_t head = 0; head < HEADS; head++) {
            const double *weight = weights + head * WIDTH;
            double odds = weight[NUMERIC + ages[at]];
            for (Py_ssize_t one = 0; one < NUMERIC; one++) odds += weight[one] * (double)table[one * width + at];
            int is_used = used_after[at] > 0 && (head == 1 || used_after[at] <= horizon);
            double error = 1.0 / (1.0 + exp(-odds)) - is_used;
            for (Py_ssize_t one = 0; one < NUMERIC; one++)
                slopes[head * WIDTH + one] += error * (double)table[one * width + at];
            slopes[head * WIDTH + NUMERIC + ages[at]] += error;
        }
    }
    for (Py_ssize_t at = 0; at < HEADS * WIDTH; at++) move(weights + at, squares + at, slopes[at], rate);
    return finish(&arrays, NULL);
}

PyMethodDef reuse_functions[] = {
    FUNCTION(features, "Tell what is asked about candidates; see twin.features."),
    FUNCTION(estimate, "Estimate the chances of use; see twin.estimate."),
    FUNCTION(note, "Note that a key was used; see twin.note."),
    FUNCTION(fit, "Learn the chances of use; see twin.fit."),
    {NULL, NULL, 0, NULL},
};
