/* The index of the counted contexts: which row a hash has, by open addressing with linear probing.

   A place of the index holds a row, or 0 where it is empty; whose row it is stands in `row_hashes`. What is taken out
   leaves no mark behind: those after it move up (Knuth, The Art of Computer Programming, volume 3, algorithm 6.4R). */

#include "kernel.h"

#include <string.h>

typedef struct {
    int32_t *rows; /* as many places as a power of two, at least one of them empty */
    const int64_t *hashes;
    Py_ssize_t mask, known;
} Index;

static Py_ssize_t home(const Index *index, int64_t hash) { return (Py_ssize_t)((uint64_t)hash & (uint64_t)index->mask); }

/* Return where a hash stands, or the empty place where it would; -1 where the index is damaged. */
static Py_ssize_t place_of(const Index *index, int64_t hash) {
    Py_ssize_t place = home(index, hash);
    for (Py_ssize_t tried = 0; tried <= index->mask; tried++, place = (place + 1) & index->mask) {
        int32_t row = index->rows[place];
        if (row == 0) return place;
        if (row < 0 || row >= index->known) return -1;
        if (index->hashes[row] == hash) return place;
    }
    return -1;
}

/* Empty a place, and move up what stood further from home for it; return -1 where the index is damaged. */
static int vacate(Index *index, Py_ssize_t place) {
    Py_ssize_t next = place;
    for (Py_ssize_t tried = 0; tried <= index->mask; tried++) {
        next = (next + 1) & index->mask;
        int32_t row = index->rows[next];
        if (row < 0 || row >= index->known) return -1;
        if (row == 0) {
            index->rows[place] = 0;
            return 0;
        }
        if (((next - home(index, index->hashes[row])) & index->mask) >= ((next - place) & index->mask)) {
            index->rows[place] = row;
            place = next;
        }
    }
    return -1;
}

static int is_index(Py_ssize_t places, Py_ssize_t known) {
    return known >= 2 && places > known && (places & (places - 1)) == 0;
}

static PyObject *find(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*q" "iqq", args, given, 0) < 0) return NULL;
    const Index index = {DATA(int32_t, 1), DATA(int64_t, 2), LENGTH(1) - 1, LENGTH(2)};
    if (LENGTH(0) != LENGTH(3) || !is_index(LENGTH(1), index.known)) return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t at = 0; at < LENGTH(0); at++) {
        Py_ssize_t place = place_of(&index, DATA(int64_t, 3)[at]);
        if (place < 0) return finish(&arrays, BAD_INDEX);
        DATA(int64_t, 0)[at] = index.rows[place];
    }
    return finish(&arrays, NULL);
}

static PyObject *find_or_add(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    Arrays arrays;
    (void)self;
    if (open_arrays(&arrays, "*q*i*q*i*B*h" "q", args, given, 1) < 0) return NULL;
    Py_ssize_t next = PyLong_AsSsize_t(args[7]);
    if (PyErr_Occurred()) {
        close_arrays(&arrays);
        return NULL;
    }
    int64_t *row_hashes = DATA(int64_t, 2);
    Index index = {DATA(int32_t, 1), row_hashes, LENGTH(1) - 1, LENGTH(2)};
    Py_ssize_t known = index.known, horizon = known ? LENGTH(5) / known : 0;
    if (LENGTH(0) != LENGTH(6) || !is_index(LENGTH(1), known) || LENGTH(3) != known * SUCCESSORS || horizon < 1 ||
        LENGTH(5) != known * horizon || LENGTH(4) != LENGTH(5) * SUCCESSORS || next < 1 || next >= known)
        return finish(&arrays, BAD_SHAPES);
    for (Py_ssize_t at = 0; at < LENGTH(0); at++) {
        int64_t hash = DATA(int64_t, 6)[at];
        Py_ssize_t place = place_of(&index, hash), old = place_of(&index, row_hashes[next]);
        if (place < 0 || old < 0) return finish(&arrays, BAD_INDEX);
        if (index.rows[place] == 0) {
            if (index.rows[old] == next) { /* the oldest context gives up its row */
                if (vacate(&index, old) < 0) return finish(&arrays, BAD_INDEX);
                memset(DATA(int32_t, 3) + next * SUCCESSORS, 0, SUCCESSORS * sizeof(int32_t));
                memset(DATA(uint8_t, 4) + next * horizon * SUCCESSORS, 0, (size_t)(horizon * SUCCESSORS));
                memset(DATA(int16_t, 5) + next * horizon, 0, (size_t)horizon * sizeof(int16_t));
                if ((place = place_of(&index, hash)) < 0) return finish(&arrays, BAD_INDEX);
            }
            row_hashes[next] = hash;
            index.rows[place] = (int32_t)next;
            next = next + 1 < known ? next + 1 : 1;
        }
        DATA(int64_t, 0)[at] = index.rows[place];
    }
    close_arrays(&arrays);
    return PyLong_FromSsize_t(next);
}

PyMethodDef index_functions[] = {
    FUNCTION(find, "Find the rows of contexts; see twin.find."),
    FUNCTION(find_or_add, "Find the rows of contexts, giving rows to new ones; see twin.find_or_add."),
    {NULL, NULL, 0, NULL},
};
