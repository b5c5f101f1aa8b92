/* The inner loops of the online predictor and of the mixture, over the NumPy arrays that `preloader.prediction.twin` documents.

   Every function has a twin of the same name and arguments there, which is the reference. All arrays come through the
   buffer protocol; every length and every index is checked, so that damaged state raises ValueError and no memory is
   touched. Nothing is kept between calls. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUCCESSORS = 16,   /* of counts.py */
    COUNT_RANGE = 128,
    FULL = 96,
    WEIGHTS = 4,       /* of a context: two weights, and their sums of squared slopes */
    MOST_SLOTS = 64,   /* no more features of marks than this; recency.py has 22 */
    NUMERIC = 3,       /* of reuse.py */
    AGES = 9,
    HEADS = 2,
    MOST_ARRAYS = 24
};

/* Opening and closing arrays ------------------------------------------------------------------------------------- */

typedef struct {
    Py_buffer views[MOST_ARRAYS];
    int count;
} Arrays;

static void close_arrays(Arrays *arrays) {
    while (arrays->count > 0) PyBuffer_Release(&arrays->views[--arrays->count]);
}

static int is_of(const Py_buffer *view, char type) {
    const char *format = view->format ? view->format : "B";
    Py_ssize_t size = view->itemsize;
    if (format[0] == '<' || format[0] == '=' || format[0] == '@') format++;
    if (format[0] == '\0' || format[1] != '\0' || (uintptr_t)view->buf % (size_t)(size > 0 ? size : 1)) return 0;
    switch (type) {
    case 'd': return format[0] == 'd' && size == 8;
    case 'f': return format[0] == 'f' && size == 4;
    case 'q': return strchr("lq", format[0]) != NULL && size == 8;
    case 'i': return strchr("il", format[0]) != NULL && size == 4;
    case 'I': return strchr("IL", format[0]) != NULL && size == 4;
    case 'U': return strchr("LQ", format[0]) != NULL && size == 8;
    case 'h': return format[0] == 'h' && size == 2;
    case 'b': return format[0] == 'b' && size == 1;
    case 'B': return strchr("B?", format[0]) != NULL && size == 1;
    default: return 0;
    }
}

/* Open the arrays that the arguments begin with, one for each letter of `types`, `*` before those written to. */
static int open_arrays(Arrays *arrays, const char *types, PyObject *const *args, Py_ssize_t given, int others) {
    int wanted = 0;
    arrays->count = 0;
    for (const char *type = types; *type; type++) wanted += *type != '*';
    if (given != wanted + others) {
        PyErr_Format(PyExc_TypeError, "%d arguments are wanted, not %zd", wanted + others, given);
        return -1;
    }
    for (const char *type = types; *type; type++) {
        int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT;
        if (*type == '*') {
            flags |= PyBUF_WRITABLE;
            type++;
        }
        Py_buffer *view = &arrays->views[arrays->count];
        if (PyObject_GetBuffer(args[arrays->count], view, flags) < 0) {
            close_arrays(arrays);
            return -1;
        }
        arrays->count++;
        if (!is_of(view, *type)) {
            PyErr_Format(PyExc_ValueError, "array %d must be aligned and of type %c", arrays->count, *type);
            close_arrays(arrays);
            return -1;
        }
    }
    return 0;
}

#define DATA(type, at) ((type *)arrays.views[at].buf)
#define LENGTH(at) (arrays.views[at].len / arrays.views[at].itemsize)

static PyObject *finish(Arrays *arrays, const char *fault) {
    close_arrays(arrays);
    if (fault != NULL) {
        PyErr_SetString(PyExc_ValueError, fault);
        return NULL;
    }
    Py_RETURN_NONE;
}

static const char BAD_SHAPES[] = "the arrays do not fit each other";
static const char BAD_INDEX[] = "an index is out of range";

/* Counting ------------------------------------------------------------------------------------------------------- */

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

/* Scoring -------------------------------------------------------------------------------------------------------- */

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

/* Learning ------------------------------------------------------------------------------------------------------- */

static void move(double *weight, double *squares, double slope, double rate) {
    *squares += slope * slope;
    *weight -= rate * slope / sqrt(*squares);
}

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

/* Words ---------------------------------------------------------------------------------------------------------- */

static PyObject *score_words(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*dfII", args, given, 5) < 0) return NULL;
    Py_ssize_t first = PyLong_AsSsize_t(args[4]), last = PyLong_AsSsize_t(args[5]);
    unsigned long multiplier = PyLong_AsUnsignedLong(args[6]), shift = PyLong_AsUnsignedLong(args[7]);
    float scale = (float)PyFloat_AsDouble(args[8]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    double *table = DATA(double, 0);
    const float *weights = DATA(float, 1);
    const uint32_t *words = DATA(uint32_t, 2), *keys = DATA(uint32_t, 3);
    Py_ssize_t heard = LENGTH(2), size = LENGTH(3);
    if (size < 1 || shift < 1 || shift > 31 || first < 0) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t horizon = LENGTH(0) / size, buckets = (Py_ssize_t)1 << (32 - shift);
    if (LENGTH(0) != horizon * size || LENGTH(1) != buckets * horizon || last > horizon)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t key = 0; key < size; key++)
        for (Py_ssize_t step = first; step < last; step++) {
            float sum = 0.0f;
            for (Py_ssize_t word = 0; word < heard; word++) {
                Py_ssize_t place = (uint32_t)((words[word] ^ keys[key]) * (uint32_t)multiplier) >> shift;
                sum += weights[place * horizon + step];
            }
            table[step * size + key] += sum * scale;
        }
    return finish(&arrays, NULL);
}

static PyObject *learn_words(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*f*f*BIId", args, given, 7) < 0) return NULL;
    Py_ssize_t target = PyLong_AsSsize_t(args[6]), step = PyLong_AsSsize_t(args[7]);
    unsigned long multiplier = PyLong_AsUnsignedLong(args[8]), shift = PyLong_AsUnsignedLong(args[9]);
    float scale = (float)PyFloat_AsDouble(args[10]), rate = (float)PyFloat_AsDouble(args[11]);
    float small = (float)PyFloat_AsDouble(args[12]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    float *weights = DATA(float, 0), *squares = DATA(float, 1);
    uint8_t *is_learned = DATA(uint8_t, 2);
    const uint32_t *words = DATA(uint32_t, 3), *keys = DATA(uint32_t, 4);
    Py_ssize_t heard = LENGTH(3), size = LENGTH(4), buckets = LENGTH(2);
    if (shift < 1 || shift > 31 || buckets != (Py_ssize_t)1 << (32 - shift)) return finish(&arrays, BAD_SHAPES);
    Py_ssize_t horizon = LENGTH(0) / buckets;
    if (LENGTH(0) != buckets * horizon || LENGTH(1) != LENGTH(0) || LENGTH(5) != horizon * size || step < 0 ||
        step >= horizon || target < 0 || target >= size)
        return finish(&arrays, BAD_SHAPES);
    const double *probabilities = DATA(double, 5) + step * size;
    struct pair { Py_ssize_t at; float weight, squares; } *pairs = NULL;
    if (heard == 0) return finish(&arrays, NULL);
    if (heard > PY_SSIZE_T_MAX / size / (Py_ssize_t)sizeof *pairs ||
        (pairs = PyMem_Malloc((size_t)(heard * size) * sizeof *pairs)) == NULL) {
        close_arrays(&arrays);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t word = 0, pair = 0; word < heard; word++) /* pairs that share a place all start from the same */
        for (Py_ssize_t key = 0; key < size; key++, pair++) {
            Py_ssize_t place = (uint32_t)((words[word] ^ keys[key]) * (uint32_t)multiplier) >> shift;
            Py_ssize_t at = place * horizon + step;
            float gradient = (float)((probabilities[key] - (key == target)) * (double)scale);
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
    return finish(&arrays, NULL);
}

/* Reuse ---------------------------------------------------------------------------------------------------------- */

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

/* Sessions and contexts ------------------------------------------------------------------------------------------ */

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
    Wide products[MOST_SLOTS];
    (void)self;
    if (open_arrays(&arrays, "UUB", args, given, 1) < 0) return NULL;
    const uint64_t *multipliers = DATA(uint64_t, 0), *starts = DATA(uint64_t, 1);
    const uint8_t *members = DATA(uint8_t, 2);
    Py_ssize_t ingredients = LENGTH(0), templates = LENGTH(1);
    PyObject *found = NULL, *values = args[3];
    if (!PyTuple_Check(values) || PyTuple_GET_SIZE(values) != ingredients || ingredients > MOST_SLOTS ||
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

/* The mixture of experts ----------------------------------------------------------------------------------------- */

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

/* The module ----------------------------------------------------------------------------------------------------- */

#define FUNCTION(name, says) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, PyDoc_STR(says)}

static PyMethodDef functions[] = {
    FUNCTION(count, "Count that a key came after contexts; see twin.count."),
    FUNCTION(score, "Add up evidence; see twin.score."),
    FUNCTION(softmax, "Make probabilities of scores; see twin.softmax."),
    FUNCTION(likeliest, "Find the likeliest columns; see twin.likeliest."),
    FUNCTION(learn, "Move weights towards what came; see twin.learn."),
    FUNCTION(score_words, "Add what words say; see twin.score_words."),
    FUNCTION(learn_words, "Move the weights of words; see twin.learn_words."),
    FUNCTION(features, "Tell what is asked about candidates; see twin.features."),
    FUNCTION(estimate, "Estimate the chances of use; see twin.estimate."),
    FUNCTION(note, "Note that a key was used; see twin.note."),
    FUNCTION(fit, "Learn the chances of use; see twin.fit."),
    FUNCTION(recall, "Find the rows of the latest contexts; see twin.recall."),
    FUNCTION(find, "Find the rows of contexts; see twin.find."),
    FUNCTION(mark, "Note what a session says itself; see twin.mark."),
    FUNCTION(mix, "Hash contexts; see twin.mix."),
    FUNCTION(pool, "Pool what experts say; see twin.pool."),
    FUNCTION(learn_pool, "Move the weights of a pool; see twin.learn_pool."),
    FUNCTION(join, "Mix what experts and their pool say; see twin.join."),
    FUNCTION(weigh, "Weigh the experts anew; see twin.weigh."),
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "preloader.prediction._kernel",
    .m_doc = PyDoc_STR("The inner loops of the predictors; preloader.prediction.twin says the same in NumPy."),
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module); }
