/* Learning the weights of what scores are added up from. */

#include "kernel.h"

enum { MOST_SLOTS = 64 }; /* no more features of marks than this; recency.py has 22 */

static PyObject *learn(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*d*d*d*d*d" "dqdqdqb", args, given, 5) < 0) return NULL;
    Py_ssize_t target = PyLong_AsSsize_t(args[12]), first = PyLong_AsSsize_t(args[13]);
    Py_ssize_t last = PyLong_AsSsize_t(args[14]);
    double rate = PyFloat_AsDouble(args[15]), mark_rate = PyFloat_AsDouble(args[16]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    double *weights = DATA(double, 0), *mark_weights = DATA(double, 1), *mark_squares = DATA(double, 2);
    double *popularity_weight = DATA(double, 3), *popularity_squares = DATA(double, 4);
    const double *probabilities = DATA(double, 5), *values = DATA(double, 7), *popularity = DATA(double, 9);
    const int64_t *columns = DATA(int64_t, 6), *places = DATA(int64_t, 8), *mark_columns = DATA(int64_t, 10);
    const int8_t *marks = DATA(int8_t, 11);
    Py_ssize_t horizon = LENGTH(3), size = LENGTH(9), known = LENGTH(0) / WEIGHTS;
    if (horizon < 1 || size < 1) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t contexts = LENGTH(8) / horizon, noted = LENGTH(10) / horizon, slots = LENGTH(1) / horizon;
    if (LENGTH(0) != known * WEIGHTS || LENGTH(1) != horizon * slots || slots < 1 || slots > MOST_SLOTS ||
        LENGTH(2) != LENGTH(1) || LENGTH(4) != horizon || LENGTH(5) != horizon * size ||
        LENGTH(8) != horizon * contexts || LENGTH(6) != LENGTH(8) * SUCCESSORS || LENGTH(7) != LENGTH(6) ||
        LENGTH(10) != horizon * noted || (LENGTH(11) != noted && LENGTH(11) != LENGTH(10)) || target < 0 ||
        target >= size || first < 0 || last > horizon)
        return finish(&arrays, BAD_SHAPES);
    Py_ssize_t mark_stride = LENGTH(11) == noted ? 0 : noted;
    for (Py_ssize_t at = 0; at < LENGTH(6); at++) /* before anything is changed */
        if (columns[at] < 0 || columns[at] >= LENGTH(5)) return finish(&arrays, BAD_INDEX);
    for (Py_ssize_t at = 0; at < LENGTH(8); at++)
        if (places[at] < 0 || places[at] >= known) return finish(&arrays, BAD_INDEX);
    for (Py_ssize_t at = 0; at < LENGTH(10); at++)
        if (mark_columns[at] < 0 || mark_columns[at] >= LENGTH(5)) return finish(&arrays, BAD_INDEX);
    for (Py_ssize_t at = 0; at < LENGTH(11); at++)
        if (marks[at] < 0 || marks[at] >= slots) return finish(&arrays, BAD_INDEX);

    for (Py_ssize_t step = first; step < last; step++) {
        Py_ssize_t right = step * size + target;
        for (Py_ssize_t cell = step * contexts; cell < (step + 1) * contexts; cell++) {
            double slope = 0.0, level = 0.0;
            for (Py_ssize_t at = cell * SUCCESSORS; at < (cell + 1) * SUCCESSORS; at++) {
                double error = probabilities[columns[at]] - (columns[at] == right);
                slope += error * values[at];
                level += error;
            }
            double *weight = weights + places[cell] * WEIGHTS;
            move(weight, weight + 2, slope, rate);
            move(weight + 1, weight + 3, level, rate);
        }
        double slope = -popularity[target];
        for (Py_ssize_t at = 0; at < size; at++) slope += probabilities[step * size + at] * popularity[at];
        move(popularity_weight + step, popularity_squares + step, slope, rate);
        double slopes[MOST_SLOTS] = {0.0};
        for (Py_ssize_t at = 0; at < noted; at++) {
            int64_t column = mark_columns[step * noted + at];
            slopes[marks[step * mark_stride + at]] += probabilities[column] - (column == right);
        }
        for (Py_ssize_t slot = 0; noted && slot < slots - 1; slot++) /* the last one is that of no mark */
            move(mark_weights + step * slots + slot, mark_squares + step * slots + slot, slopes[slot], mark_rate);
    }
    return finish(&arrays, NULL);
}

PyMethodDef learning_functions[] = {
    FUNCTION(learn, "Move weights towards what came; see twin.learn."),
    {NULL, NULL, 0, NULL},
};
