/* Opening, checking and closing the arrays of a call. */

#include "kernel.h"

#include <string.h>

void close_arrays(Arrays *arrays) {
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

int open_arrays(Arrays *arrays, const char *types, PyObject *const *args, Py_ssize_t given, int others) {
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

PyObject *finish(Arrays *arrays, const char *fault) {
    close_arrays(arrays);
    if (fault != NULL) {
        PyErr_SetString(PyExc_ValueError, fault);
        return NULL;
    }
    Py_RETURN_NONE;
}

const char BAD_SHAPES[] = "the arrays do not fit each other";
const char BAD_INDEX[] = "an index is out of range";
