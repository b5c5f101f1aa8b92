/* Scores of all keys, the chances that they give, and the likeliest of those. */

#include "kernel.h"

#include <string.h>

static PyObject *score(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*d*q*d*q*d*q" "iBh" "ddd" "qib" "qqd" "Bd", args, given, 1) < 0) return NULL;
    double whole = PyFloat_AsDouble(args[20]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    double *table = DATA(double, 0), *values = DATA(double, 2), *popularity = DATA(double, 4);
    int64_t *columns = DATA(int64_t, 1), *places = DATA(int64_t, 3), *mark_columns = DATA(int64_t, 5);
    const int32_t *keys = DATA(int32_t, 6), *marked = DATA(int32_t, 13);
    const uint8_t *counts = DATA(uint8_t, 7), *seen = DATA(uint8_t, 18);
    const int16_t *summary = DATA(int16_t, 8);
    const double *weights = DATA(double, 9), *mark_weights = DATA(double, 10), *popularity_weight = DATA(double, 11);
    const int64_t *rows = DATA(int64_t, 12), *numbers = DATA(int64_t, 15), *column_of = DATA(int64_t, 16);
    const int8_t *marks = DATA(int8_t, 14);
    const double *mass = DATA(double, 17), *evidence = DATA(double, 19);

    Py_ssize_t horizon = LENGTH(11), size = LENGTH(15), known = LENGTH(6) / SUCCESSORS, mapped = LENGTH(16);
    if (horizon < 1 || size < 1 || LENGTH(3) < horizon) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t contexts = LENGTH(3) / horizon, noted = LENGTH(5) / horizon, slots = LENGTH(10) / horizon;
    Py_ssize_t buckets = LENGTH(9) / (WEIGHTS * horizon * contexts);
    if (LENGTH(0) != horizon * size || LENGTH(3) != horizon * contexts || LENGTH(1) != LENGTH(3) * SUCCESSORS ||
        LENGTH(2) != LENGTH(1) || LENGTH(4) != size || LENGTH(5) != horizon * noted ||
        LENGTH(6) != known * SUCCESSORS || LENGTH(8) != known * horizon || LENGTH(7) != LENGTH(8) * SUCCESSORS ||
        LENGTH(9) != buckets * WEIGHTS * horizon * contexts || LENGTH(10) != horizon * slots ||
        (LENGTH(12) != contexts && LENGTH(12) != horizon * contexts) ||
        (LENGTH(13) != noted && LENGTH(13) != horizon * noted) || LENGTH(14) != LENGTH(13) ||
        LENGTH(18) != COUNT_RANGE * COUNT_RANGE || LENGTH(19) != 256)
        return finish(&arrays, BAD_SHAPES);
    Py_ssize_t row_stride = LENGTH(12) == contexts ? 0 : contexts, mark_stride = LENGTH(13) == noted ? 0 : noted;

    double log_whole = log(whole);
    for (Py_ssize_t at = 0; at < size; at++) {
        if (numbers[at] < 0 || numbers[at] >= LENGTH(17)) return finish(&arrays, BAD_INDEX);
        popularity[at] = log(mass[numbers[at]] + 1e-6 * whole) - log_whole;
    }
    for (Py_ssize_t step = 0; step < horizon; step++) {
        double *scores = table + step * size;
        for (Py_ssize_t at = 0; at < size; at++) scores[at] = popularity_weight[step] * popularity[at];
        for (Py_ssize_t context = 0; context < contexts; context++) {
            Py_ssize_t row = rows[step * row_stride + context], cell = step * contexts + context;
            if (row < 0 || row >= known) return finish(&arrays, BAD_INDEX);
            int told = summary[row * horizon + step];
            if (told < 0 || seen[told] >= buckets) return finish(&arrays, BAD_INDEX);
            Py_ssize_t weight_at = cell * buckets + seen[told];
            double slope = weights[weight_at * WEIGHTS], level = weights[weight_at * WEIGHTS + 1];
            places[cell] = weight_at;
            for (int place = 0; place < SUCCESSORS; place++) {
                int64_t column = keys[row * SUCCESSORS + place];
                if (mapped) column = column >= 0 && column < mapped ? column_of[column] : -1;
                if (column < 0 || column >= size) return finish(&arrays, BAD_INDEX);
                double value = evidence[counts[(row * horizon + step) * SUCCESSORS + place]];
                values[cell * SUCCESSORS + place] = value;
                columns[cell * SUCCESSORS + place] = column + step * size;
                scores[column] += value * slope + level;
            }
        }
        for (Py_ssize_t at = 0; at < noted; at++) {
            int64_t column = marked[step * mark_stride + at], slot = marks[step * mark_stride + at];
            if (mapped) column = column >= 0 && column < mapped ? column_of[column] : -1;
            if (column < 0 || column >= size || slot < 0 || slot >= slots) return finish(&arrays, BAD_INDEX);
            mark_columns[step * noted + at] = column + step * size;
            scores[column] += mark_weights[step * slots + slot];
        }
    }
    return finish(&arrays, NULL);
}

static PyObject *softmax(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*d", args, given, 1) < 0) return NULL;
    Py_ssize_t size = PyLong_AsSsize_t(args[1]);
    if (size < 2 || LENGTH(0) % size) {
        if (PyErr_Occurred()) PyErr_Clear();
        return finish(&arrays, BAD_SHAPES);
    }
    for (double *row = DATA(double, 0), *end = row + LENGTH(0); row < end; row += size) {
        double top = row[1], sum = 0.0;
        for (Py_ssize_t at = 2; at < size; at++) top = row[at] > top ? row[at] : top;
        row[0] = 0.0; /* of nothing, which never comes */
        for (Py_ssize_t at = 1; at < size; at++) sum += row[at] = exp(row[at] - top);
        for (Py_ssize_t at = 1; at < size; at++) row[at] /= sum;
    }
    return finish(&arrays, NULL);
}

static PyObject *likeliest(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*qd", args, given, 2) < 0) return NULL;
    Py_ssize_t first = PyLong_AsSsize_t(args[2]), size = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    int64_t *chosen = DATA(int64_t, 0);
    const double *probabilities = DATA(double, 1);
    Py_ssize_t most = LENGTH(0), held = 0;
    if (first < 0 || size > LENGTH(1) || most > (size > first ? size - first : 0)) return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t at = first; most && at < size; at++) {
        double chance = probabilities[at];
        if (held == most && !(chance > probabilities[chosen[held - 1]])) continue;
        Py_ssize_t low = 0, high = held; /* after all that are at least as likely: ties keep their order */
        while (low < high) {
            Py_ssize_t middle = (low + high) / 2;
            if (probabilities[chosen[middle]] >= chance) low = middle + 1;
            else high = middle;
        }
        held -= held == most;
        memmove(chosen + low + 1, chosen + low, (size_t)(held - low) * sizeof *chosen);
        chosen[low] = at;
        held++;
    }
    return finish(&arrays, NULL);
}

/* Return `make` called with a key, its chances at each step, and its two chances of use. */
static PyObject *told(PyObject *make, PyObject *key, const double *chances, Py_ssize_t steps, Py_ssize_t stride,
                      double loaded, double soon) {
    PyObject *said[] = {key, PyTuple_New(steps), PyFloat_FromDouble(loaded), PyFloat_FromDouble(soon)};
    PyObject *made = NULL;
    int is_whole = said[1] != NULL && said[2] != NULL && said[3] != NULL;
    for (Py_ssize_t step = 0; is_whole && step < steps; step++) {
        PyObject *chance = PyFloat_FromDouble(chances[step * stride]);
        if (chance == NULL) is_whole = 0;
        else PyTuple_SET_ITEM(said[1], step, chance);
    }
    if (is_whole) made = PyObject_Vectorcall(make, said, 4, NULL);
    for (int one = 1; one < 4; one++) Py_XDECREF(said[one]);
    return made;
}

static PyObject *predictions(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "qdqd", args, given, 5) < 0) return NULL;
    Py_ssize_t steps = PyLong_AsSsize_t(args[6]);
    double least_chance = PyFloat_AsDouble(args[7]), least_use = PyFloat_AsDouble(args[8]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    const int64_t *numbers = DATA(int64_t, 0), *columns = DATA(int64_t, 2);
    const double *probabilities = DATA(double, 1), *uses = DATA(double, 3);
    PyObject *make = args[4], *keys = args[5];
    Py_ssize_t size = LENGTH(0), asked = LENGTH(2);
    if (size < 1 || LENGTH(1) % size || steps < 1 || steps > LENGTH(1) / size || LENGTH(3) != 2 * asked ||
        !PyList_Check(keys))
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t at = 0; at < asked; at++)
        if (columns[at] < 0 || columns[at] >= size || numbers[columns[at]] < 0) return finish(&arrays, BAD_INDEX);
    PyObject *found = PyList_New(0);
    for (Py_ssize_t at = 0; found != NULL && at < asked; at++) {
        const double *chances = probabilities + columns[at];
        double loaded = uses[asked + at], likeliest = chances[0];
        for (Py_ssize_t step = 1; step < steps; step++)
            if (chances[step * size] > likeliest) likeliest = chances[step * size];
        if (!(loaded >= least_use || likeliest >= least_chance)) continue;
        PyObject *key = numbers[columns[at]] < PyList_GET_SIZE(keys) ? PyList_GET_ITEM(keys, numbers[columns[at]]) : NULL;
        PyObject *made = NULL;
        Py_XINCREF(key);
        if (key == NULL) PyErr_SetString(PyExc_ValueError, BAD_INDEX);
        else made = told(make, key, chances, steps, size, loaded, uses[at]);
        Py_XDECREF(key);
        if (made == NULL || PyList_Append(found, made) < 0) Py_CLEAR(found);
        Py_XDECREF(made);
    }
    close_arrays(&arrays);
    return found;
}

PyMethodDef scoring_functions[] = {
    FUNCTION(score, "Add up evidence; see twin.score."),
    FUNCTION(softmax, "Make probabilities of scores; see twin.softmax."),
    FUNCTION(likeliest, "Find the likeliest columns; see twin.likeliest."),
    FUNCTION(predictions, "Say in words what arrays say; see twin.predictions."),
    {NULL, NULL, 0, NULL},
};
