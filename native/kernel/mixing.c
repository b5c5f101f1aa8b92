/* The mixture of experts: `preloader.prediction.mixing_twin` is its reference. */

#include "kernel.h"

typedef struct { Py_ssize_t experts, rows, size; } Shape;

/* Return an array's shape if it has three dimensions and is not empty, else 0 for each. */
static Shape shape_of(const Py_buffer *view) {
    if (view->ndim != 3 || view->len == 0) return (Shape){0, 0, 0};
    return (Shape){view->shape[0], view->shape[1], view->shape[2]};
}

static int lengths_are(const Arrays *arrays, const Py_ssize_t *wanted) {
    for (int at = 0; at < arrays->count; at++)
        if (arrays->views[at].len / arrays->views[at].itemsize != wanted[at]) return 0;
    return 1;
}

static int all_below(const int64_t *indices, Py_ssize_t count, Py_ssize_t limit) {
    for (Py_ssize_t at = 0; at < count; at++)
        if (indices[at] < 0 || indices[at] >= limit) return 0;
    return 1;
}

static PyObject *pool(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*d*q" "dddddqd", args, given, 2) < 0) return NULL;
    Py_ssize_t by_seen = PyLong_AsSsize_t(args[9]), by_sure = PyLong_AsSsize_t(args[10]);
    if (PyErr_Occurred()) PyErr_Clear(), by_seen = -1;
    const Shape shape = shape_of(&arrays.views[2]);
    const Py_ssize_t experts = shape.experts, rows = shape.rows, size = shape.size, voices = experts + 1;
    const Py_ssize_t horizon = LENGTH(6) / voices, sets = shape_of(&arrays.views[4]).size, bounds = LENGTH(8);
    const Py_ssize_t wanted[] = {rows * size, 3 * rows * experts, experts * rows * size, experts * size,
                                 horizon * experts * sets, horizon * experts, horizon * voices, rows, bounds};
    const int64_t *steps = DATA(int64_t, 7);
    if (!rows || by_seen < 0 || by_sure < 0 || by_seen >= sets || by_sure >= sets - bounds ||
        !lengths_are(&arrays, wanted))
        return finish(&arrays, BAD_SHAPES);
    if (!all_below(steps, rows, horizon)) return finish(&arrays, BAD_INDEX);
    for (Py_ssize_t row = 0; row < rows; row++) {
        double *scores = DATA(double, 0) + row * size, most = -INFINITY, sum = 0.0;
        const double *bias = DATA(double, 6) + steps[row] * voices;
        for (Py_ssize_t at = 0; at < size; at++) scores[at] = at == size - 1 ? bias[experts] : 0.0;
        for (Py_ssize_t expert = 0; expert < experts; expert++) {
            const double *logs = DATA(double, 2) + (expert * rows + row) * size, *bound = DATA(double, 8);
            const double *unnamed = DATA(double, 3) + expert * size;
            const Py_ssize_t cell = steps[row] * experts + expert;
            double top = logs[0], weight = DATA(double, 5)[cell];
            Py_ssize_t sure = 0;
            for (Py_ssize_t at = 1; at < size; at++) top = logs[at] > top ? logs[at] : top;
            while (sure < bounds && bound[sure] < top) sure++;
            const Py_ssize_t taken[] = {0, by_seen, by_sure + sure};
            for (int one = 0; one < 3; one++) {
                weight += DATA(double, 4)[cell * sets + taken[one]];
                DATA(int64_t, 1)[(one * rows + row) * experts + expert] = taken[one];
            }
            for (Py_ssize_t at = 0; at < size; at++) scores[at] += weight * logs[at] + bias[expert] * unnamed[at];
        }
        for (Py_ssize_t at = 0; at < size; at++) most = scores[at] > most ? scores[at] : most;
        for (Py_ssize_t at = 0; at < size; at++) sum += scores[at] = exp(scores[at] - most);
        for (Py_ssize_t at = 0; at < size; at++) scores[at] /= sum;
    }
    return finish(&arrays, NULL);
}

static PyObject *learn_pool(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*d*d*d*d*d" "dddqqq", args, given, 2) < 0) return NULL;
    double rate = PyFloat_AsDouble(args[11]), own_rate = PyFloat_AsDouble(args[12]);
    const Shape shape = shape_of(&arrays.views[6]);
    const Py_ssize_t experts = shape.experts, rows = shape.rows, size = shape.size, voices = experts + 1;
    const Py_ssize_t horizon = LENGTH(3) / voices, sets = shape_of(&arrays.views[0]).size, each = horizon * experts;
    const Py_ssize_t wanted[] = {each * sets, each * sets, 2 * each, horizon * voices, horizon * voices, rows * size,
                                 experts * rows * size, experts * size, 3 * rows * experts, rows, rows};
    const int64_t *taken = DATA(int64_t, 8), *steps = DATA(int64_t, 9), *columns = DATA(int64_t, 10);
    if (PyErr_Occurred()) PyErr_Clear(), rate = NAN;
    if (!rows || isnan(rate) || !lengths_are(&arrays, wanted)) return finish(&arrays, BAD_SHAPES);
    if (!all_below(steps, rows, horizon) || !all_below(columns, rows, size) ||
        !all_below(taken, 3 * rows * experts, sets))
        return finish(&arrays, BAD_INDEX);
    double *own = DATA(double, 2), *biases = DATA(double, 3), *bias_squares = DATA(double, 4);
    for (Py_ssize_t row = 0; row < rows; row++) {
        const double *chances = DATA(double, 5) + row * size;
        for (Py_ssize_t expert = 0; expert < experts; expert++) {
            const double *logs = DATA(double, 6) + (expert * rows + row) * size;
            const double *unnamed = DATA(double, 7) + expert * size;
            const Py_ssize_t cell = steps[row] * experts + expert, bias = steps[row] * voices + expert;
            double slope = -logs[columns[row]], bias_slope = -unnamed[columns[row]];
            for (Py_ssize_t at = 0; at < size; at++) {
                slope += chances[at] * logs[at];
                bias_slope += chances[at] * unnamed[at];
            }
            for (int one = 0; one < 3; one++) {
                const Py_ssize_t at = cell * sets + taken[(one * rows + row) * experts + expert];
                move(DATA(double, 0) + at, DATA(double, 1) + at, slope, rate);
            }
            move(own + cell, own + each + cell, slope, own_rate);
            move(biases + bias, bias_squares + bias, bias_slope, rate);
        }
        const Py_ssize_t last = steps[row] * voices + experts;
        move(biases + last, bias_squares + last, chances[size - 1] - (columns[row] == size - 1), rate);
    }
    return finish(&arrays, NULL);
}

/* Return the logarithm of the sum of the exponentials of those awake. */
static double log_sum(const double *logs, const uint8_t *awake, Py_ssize_t count) {
    double most = -INFINITY, sum = 0.0;
    for (Py_ssize_t at = 0; at < count; at++)
        if (awake[at] && logs[at] > most) most = logs[at];
    for (Py_ssize_t at = 0; at < count; at++)
        if (awake[at]) sum += exp(logs[at] - most);
    return most + log(sum);
}

static PyObject *join(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*d" "dddBq", args, given, 0) < 0) return NULL;
    const Shape shape = shape_of(&arrays.views[2]);
    const Py_ssize_t experts = shape.experts, rows = shape.rows, size = shape.size, voices = experts + 1;
    const Py_ssize_t horizon = LENGTH(3) / voices, table = rows * size, voted = rows * voices;
    const Py_ssize_t wanted[] = {table, table, experts * table, horizon * voices, voted, rows};
    if (!rows || !lengths_are(&arrays, wanted)) return finish(&arrays, BAD_SHAPES);
    if (!all_below(DATA(int64_t, 5), rows, horizon)) return finish(&arrays, BAD_INDEX);
    for (Py_ssize_t row = 0; row < rows; row++) {
        const uint8_t *awake = DATA(uint8_t, 4) + row * voices;
        const double *weights = DATA(double, 3) + DATA(int64_t, 5)[row] * voices, sum = log_sum(weights, awake, voices);
        const double *pooled = DATA(double, 1) + row * size;
        double *mixed = DATA(double, 0) + row * size, of_pool = awake[experts] ? exp(weights[experts] - sum) : 0.0;
        for (Py_ssize_t at = 0; at < size; at++) mixed[at] = of_pool * pooled[at];
        for (Py_ssize_t expert = 0; expert < experts; expert++) {
            const double *logs = DATA(double, 2) + (expert * rows + row) * size, weight = weights[expert] - sum;
            for (Py_ssize_t at = 0; awake[expert] && at < size; at++) mixed[at] += exp(weight + logs[at]);
        }
    }
    return finish(&arrays, NULL);
}

static PyObject *weigh(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*d" "dBq", args, given, 1) < 0) return NULL;
    double share = PyFloat_AsDouble(args[4]);
    const Py_ssize_t rows = LENGTH(3), voices = rows ? LENGTH(1) / rows : 0, horizon = voices ? LENGTH(0) / voices : 0;
    const Py_ssize_t wanted[] = {horizon * voices, rows * voices, rows * voices, rows};
    if (PyErr_Occurred()) PyErr_Clear(), share = -1.0;
    if (!(share >= 0.0 && share < 1.0) || !lengths_are(&arrays, wanted)) return finish(&arrays, BAD_SHAPES);
    if (!all_below(DATA(int64_t, 3), rows, horizon)) return finish(&arrays, BAD_INDEX);
    for (Py_ssize_t row = 0; row < rows; row++) {
        const uint8_t *awake = DATA(uint8_t, 2) + row * voices;
        double *weights = DATA(double, 0) + DATA(int64_t, 3)[row] * voices, before = log_sum(weights, awake, voices);
        for (Py_ssize_t at = 0; at < voices; at++) weights[at] += awake[at] ? DATA(double, 1)[row * voices + at] : 0.0;
        double scale = before - log_sum(weights, awake, voices);
        for (Py_ssize_t at = 0; at < voices; at++) {
            if (awake[at]) weights[at] += scale;
            if (share > 0.0) weights[at] = log((1.0 - share) * exp(weights[at]) + share / (double)voices);
        }
    }
    return finish(&arrays, NULL);
}

PyMethodDef mixing_functions[] = {
    FUNCTION(pool, "Pool what experts say; see twin.pool."),
    FUNCTION(learn_pool, "Move the weights of a pool; see twin.learn_pool."),
    FUNCTION(join, "Mix what experts and their pool say; see twin.join."),
    FUNCTION(weigh, "Weigh the experts anew; see twin.weigh."),
    {NULL, NULL, 0, NULL},
};
