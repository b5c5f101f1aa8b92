/* The extension module `preloader.prediction._kernel`: the inner loops of the online predictor and of the mixture. */

#include "kernel.h"

static int add_parts(PyObject *module) {
    PyMethodDef *parts[] = {counting_functions, scoring_functions, learning_functions, words_functions, reuse_functions,
                            contexts_functions, index_functions,   sessions_functions, mixing_functions};
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++)
        if (PyModule_AddFunctions(module, parts[part]) < 0) return -1;
    return PyModule_AddIntMacro(module, INTERFACE);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)add_parts},
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
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&module); }
