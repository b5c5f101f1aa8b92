/* What the words of a session say about each key. */

#include "kernel.h"

/* How old a word's text is: 0 for the latest. It stands in the two lowest bits of the word's hash. */
enum { AGES = 4 };
static const float LEAST_GAIN = 0.03f, MOST_GAIN = 2.0f; /* above 0: nothing could be learned of what is not heard */
#define AGE(word) ((word) & (AGES - 1))

/* Where the weights of a word and a key stand: anywhere in megabytes, so that they are asked for some keys ahead. */
#define PLACE(word, key) ((Py_ssize_t)((uint32_t)(((word) ^ (key)) * (uint32_t)multiplier) >> shift))
enum { AHEAD = 8 };
#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif

static PyObject *score_words(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*dffII", args, given, 5) < 0) return NULL;
    Py_ssize_t first = PyLong_AsSsize_t(args[5]), last = PyLong_AsSsize_t(args[6]);
    unsigned long multiplier = PyLong_AsUnsignedLong(args[7]), shift = PyLong_AsUnsignedLong(args[8]);
    float scale = (float)PyFloat_AsDouble(args[9]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    double *table = DATA(double, 0);
    const float *weights = DATA(float, 1), *gains = DATA(float, 2);
    const uint32_t *words = DATA(uint32_t, 3), *keys = DATA(uint32_t, 4);
    Py_ssize_t heard = LENGTH(3), size = LENGTH(4);
    if (size < 1 || shift < 1 || shift > 31 || first < 0) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t horizon = LENGTH(0) / size, buckets = (Py_ssize_t)1 << (32 - shift);
    if (LENGTH(0) != horizon * size || LENGTH(1) != buckets * horizon || LENGTH(2) != horizon * AGES || last > horizon)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t key = 0; key < size; key++) {
        for (Py_ssize_t word = 0; key + AHEAD < size && word < heard; word++)
            PREFETCH(weights + PLACE(words[word], keys[key + AHEAD]) * horizon);
        for (Py_ssize_t step = first; step < last; step++) {
            float sum = 0.0f;
            for (Py_ssize_t word = 0; word < heard; word++)
                sum += weights[PLACE(words[word], keys[key]) * horizon + step] * gains[step * AGES + AGE(words[word])];
            table[step * size + key] += sum * scale;
        }
    }
    return finish(&arrays, NULL);
}

static PyObject *learn_words(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*f*f*B*f*fIId", args, given, 8) < 0) return NULL;
    Py_ssize_t target = PyLong_AsSsize_t(args[8]), step = PyLong_AsSsize_t(args[9]);
    unsigned long multiplier = PyLong_AsUnsignedLong(args[10]), shift = PyLong_AsUnsignedLong(args[11]);
    float scale = (float)PyFloat_AsDouble(args[12]), rate = (float)PyFloat_AsDouble(args[13]);
    float small = (float)PyFloat_AsDouble(args[15]);
    double gain_rate = PyFloat_AsDouble(args[14]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    float *weights = DATA(float, 0), *squares = DATA(float, 1), *gains = DATA(float, 3), *gain_squares = DATA(float, 4);
    uint8_t *is_learned = DATA(uint8_t, 2);
    const uint32_t *words = DATA(uint32_t, 5), *keys = DATA(uint32_t, 6);
    Py_ssize_t heard = LENGTH(5), size = LENGTH(6), buckets = LENGTH(2);
    if (shift < 1 || shift > 31 || buckets != (Py_ssize_t)1 << (32 - shift)) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t horizon = LENGTH(0) / buckets;
    if (LENGTH(0) != buckets * horizon || LENGTH(1) != LENGTH(0) || LENGTH(7) != horizon * size ||
        LENGTH(3) != horizon * AGES || LENGTH(4) != LENGTH(3) || step < 0 || step >= horizon ||
        target < 0 || target >= size)
        return finish(&arrays, BAD_SHAPES);
    const double *probabilities = DATA(double, 7) + step * size;
    struct pair { Py_ssize_t at; float weight, squares; } *pairs = NULL;
    if (heard == 0) return finish(&arrays, NULL);
    if (heard > PY_SSIZE_T_MAX / size / (Py_ssize_t)sizeof *pairs ||
        (pairs = PyMem_Malloc((size_t)(heard * size) * sizeof *pairs)) == NULL) {
        close_arrays(&arrays);
        return PyErr_NoMemory();
    }
    double slopes[AGES] = {0.0};
    float *gain = gains + step * AGES, *gain_square = gain_squares + step * AGES;
    for (Py_ssize_t word = 0, pair = 0; word < heard; word++) /* pairs that share a place all start from the same */
        for (Py_ssize_t key = 0; key < size; key++, pair++) {
            Py_ssize_t place = PLACE(words[word], keys[key]);
            if (key + AHEAD < size) {
                Py_ssize_t next = PLACE(words[word], keys[key + AHEAD]) * horizon + step;
                PREFETCH(weights + next);
                PREFETCH(squares + next);
            }
            Py_ssize_t at = place * horizon + step;
            float error = (float)((probabilities[key] - (key == target)) * (double)scale);
            float gradient = error * gain[AGE(words[word])];
            slopes[AGE(words[word])] += (double)error * (double)weights[at];
            float sum = squares[at] + gradient * gradient;
            is_learned[place] = 1;
            pairs[pair].at = at;
            pairs[pair].squares = sum;
            pairs[pair].weight = weights[at] - rate * gradient / sqrtf(sum + small);
        }
    for (Py_ssize_t pair = 0; pair < heard * size; pair++) {
        weights[pairs[pair].at] = pairs[pair].weight;
        squares[pairs[pair].at] = pairs[pair].squares;
    }
    PyMem_Free(pairs);
    for (int age = 0; age < AGES; age++) {
        double sum = (double)gain_square[age] + slopes[age] * slopes[age];
        gain_square[age] = (float)sum;
        float moved = (float)((double)gain[age] - gain_rate * slopes[age] / sqrt(sum + small));
        gain[age] = moved < LEAST_GAIN ? LEAST_GAIN : moved > MOST_GAIN ? MOST_GAIN : moved;
    }
    return finish(&arrays, NULL);
}

PyMethodDef words_functions[] = {
    FUNCTION(score_words, "Add what words say; see twin.score_words."),
    FUNCTION(learn_words, "Move the weights of words; see twin.learn_words."),
    {NULL, NULL, 0, NULL},
};
