/* What the parts of the kernel share: how arrays are opened and checked, and how a weight is moved.

   Every function of the kernel has a twin of the same name and arguments in `preloader.prediction.twin`, which documents
   it and is the reference. All arrays come through the buffer protocol; every length and every index is checked, so that
   damaged state raises ValueError and no memory is touched. Nothing is kept between calls. */

#ifndef PRELOADER_KERNEL_H
#define PRELOADER_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>

enum {
    INTERFACE = 2,   /* raised with every change of a function's arguments, here and in kernel.py, which refuses others */
    SUCCESSORS = 16, /* of counts.py */
    COUNT_RANGE = 128,
    WEIGHTS = 4, /* of a context: two weights, and their sums of squared slopes */
    MOST_ARRAYS = 24
};

typedef struct {
    Py_buffer views[MOST_ARRAYS];
    int count;
} Arrays;

/* Open the arrays that the arguments begin with, one for each letter of `types`, `*` before those written to; so many
   `others` follow them. Return -1 with an exception set, and nothing open, where they are not such arrays. */
int open_arrays(Arrays *arrays, const char *types, PyObject *const *args, Py_ssize_t given, int others);
void close_arrays(Arrays *arrays);

/* Close the arrays and return None, or raise ValueError where there is a fault. */
PyObject *finish(Arrays *arrays, const char *fault);
extern const char BAD_SHAPES[], BAD_INDEX[];

#define DATA(type, at) ((type *)arrays.views[at].buf)
#define LENGTH(at) (arrays.views[at].len / arrays.views[at].itemsize)

/* Take a step of AdaGrad against a slope. */
static inline void move(double *weight, double *squares, double slope, double rate) {
    *squares += slope * slope;
    *weight -= rate * slope / sqrt(*squares);
}

#define FUNCTION(name, says) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, PyDoc_STR(says)}

/* What each part adds to the module. */
extern PyMethodDef counting_functions[], scoring_functions[], learning_functions[], words_functions[];
extern PyMethodDef reuse_functions[], contexts_functions[], index_functions[], sessions_functions[];
extern PyMethodDef mixing_functions[];

#endif
