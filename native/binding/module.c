/* The extension module `preloader.ring._native`: what it takes from Python, and the one type that it gives. */
#include "binding.h"

static int find_record(module_state *state) {
    PyObject *records = PyImport_ImportModule("preloader.ring.record");
    if (!records) return -1;
    state->record_type = PyObject_GetAttrString(records, "Record");
    state->dtype = PyObject_GetAttrString(records, "DTYPE");
    Py_DECREF(records);
    if (!state->record_type || !state->dtype) return -1;
    if (PyType_Check(state->record_type) && PyType_IsSubtype((PyTypeObject *)state->record_type, &PyTuple_Type)) return 0;
    PyErr_SetString(PyExc_TypeError, "preloader.ring.record.Record must be a tuple type");
    return -1;
}

static int find_numpy(module_state *state) {
    PyObject *numpy = PyImport_ImportModule("numpy");
    if (numpy) {
        state->empty = PyObject_GetAttrString(numpy, "empty");
        Py_DECREF(numpy);
        return state->empty ? 0 : -1;
    }
    if (!PyErr_ExceptionMatches(PyExc_ImportError)) return -1;
    PyErr_Clear(); /* an interpreter with a GIL of its own: NumPy refuses those */
    return 0;
}

static int fill_module(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    if (find_record(state) < 0 || find_numpy(state) < 0) return -1;
    state->ring_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &ring_spec, NULL);
    if (!state->ring_type || PyModule_AddType(module, state->ring_type) < 0) return -1;
    return PyModule_AddIntMacro(module, INTERFACE);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    module_state *state = PyModule_GetState(module);
    Py_VISIT(state->ring_type);
    Py_VISIT(state->record_type);
    Py_VISIT(state->empty);
    Py_VISIT(state->dtype);
    return 0;
}

static int module_clear(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->ring_type);
    Py_CLEAR(state->record_type);
    Py_CLEAR(state->empty);
    Py_CLEAR(state->dtype);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)fill_module},
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
    .m_name = "preloader.ring._native",
    .m_doc = PyDoc_STR("The lock-free ring; preloader.ring.twin says the same in Python."),
    .m_size = sizeof(module_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }
