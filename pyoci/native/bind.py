"""Writes the C that makes an extension module of a header: a Python function for each of its C functions.

The headers are ours (sys.h, bpf.h), so only `int name(TYPE name, ...);` is understood, with integers, `const char *` (a bytes object
without a NUL, or None for NULL; those named `data` and `instructions` are buffers), and pointers to integers or chars (any buffer
of that item size, or None). The interpreter's lock is given away during each call. What is made uses the limited API: one build
serves every Python from 3.11 on.

cffi would do the same and more for 0.7 ms a start, which is the import of its own module; libseccomp keeps it.
Cold: only the build imports this. Source: Python/C API, "Stable Application Binary Interface", "Buffer Protocol".
"""

import re

INTEGERS = {
    "int": ("long", "PyLong_AsLong"), "unsigned": ("unsigned long", "PyLong_AsUnsignedLong"),
    "unsigned int": ("unsigned long", "PyLong_AsUnsignedLong"), "unsigned long": ("unsigned long", "PyLong_AsUnsignedLong"),
    "unsigned long long": ("unsigned long long", "PyLong_AsUnsignedLongLong"),
}  # fmt: skip
PROTOTYPE = re.compile(r"^int (\w+)\(([^)]*)\);", re.MULTILINE)  # the list may go on in the next line

HEAD = """
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <limits.h>

#define ARGUMENTS(name, wanted) if (!are_enough(name, n, wanted)) return NULL

static int are_enough(const char *name, Py_ssize_t n, Py_ssize_t wanted)
{
	if (n != wanted)
		PyErr_Format(PyExc_TypeError, "%s: %zd arguments, not %zd", name, n, wanted);
	return n == wanted;
}

/* The buffer of an argument, which must be a whole number of items; NULL for None. Returns 0 with an exception set. */
static int take(PyObject *object, Py_buffer *view, int flags, size_t item, void **start)
{
	*start = NULL;
	if (object == Py_None)
		return 1;
	if (PyObject_GetBuffer(object, view, flags) < 0)
		return 0;
	*start = view->buf;
	if ((size_t)view->len % item == 0)
		return 1;
	PyErr_SetString(PyExc_TypeError, "a buffer of another item size");
	return 0;
}

static int take_text(PyObject *object, char **text)
{
	*text = NULL;
	return object == Py_None || PyBytes_AsStringAndSize(object, text, NULL) == 0;
}
"""


class _Argument:
    """One parameter: what is declared for it, how it is taken, how it is passed and how it is given back."""

    def __init__(self, index, text):
        words = re.sub(r"\*", " * ", text).split()
        self.name, kind = words[-1], " ".join(words[:-1])
        at = f"a{index}"
        self.given_back = ""
        if kind in INTEGERS:
            wide, convert = INTEGERS[kind]
            self.declared = f"{wide} {at};"
            self.taken = f"{at} = {convert}(args[{index}]); if ({at} == ({wide})-1 && PyErr_Occurred()) goto end;"
            if wide == "long" and kind == "int":
                self.taken += f" if ({at} < INT_MIN || {at} > INT_MAX) {{ PyErr_SetString(PyExc_OverflowError, \"{self.name}\"); goto end; }}"
            if kind in ("unsigned", "unsigned int"):
                self.taken += f" if ({at} > UINT_MAX) {{ PyErr_SetString(PyExc_OverflowError, \"{self.name}\"); goto end; }}"
            self.passed = f"({kind}){at}"
        elif kind == "const char *" and self.name not in ("data", "instructions"):
            self.declared = f"char *{at};"
            self.taken = f"if (!take_text(args[{index}], &{at})) goto end;"
            self.passed = at
        elif kind.endswith("*"):
            flags = "PyBUF_SIMPLE" if kind.startswith("const ") else "PyBUF_WRITABLE"
            item = kind.removeprefix("const ").removesuffix(" *")
            self.declared = f"Py_buffer b{index} = {{0}}; void *{at};"
            self.taken = f"if (!take(args[{index}], &b{index}, {flags}, sizeof({item}), &{at})) goto end;"
            self.passed = at
            self.given_back = f"PyBuffer_Release(&b{index});"
        else:
            raise ValueError(f"{kind} {self.name}: no such argument is understood")


def _function(name, parameters):
    arguments = [_Argument(index, text) for index, text in enumerate(parameters.split(",")) if text.strip() != "void"]
    lines = [
        f"static PyObject *py_{name}(PyObject *self, PyObject *const *args, Py_ssize_t n)", "{", "\tPyObject *result = NULL;", "\tint value;",
        *[f"\t{one.declared}" for one in arguments],
        "", "\t(void)self; (void)args;", f'\tARGUMENTS("{name}", {len(arguments)});',
        *[f"\t{one.taken}" for one in arguments],
        "\tPy_BEGIN_ALLOW_THREADS", f"\tvalue = {name}({', '.join(one.passed for one in arguments)});", "\tPy_END_ALLOW_THREADS",
        "\tresult = PyLong_FromLong(value);",
    ]  # fmt: skip
    lines += ["\tgoto end;", "end:", *[f"\t{one.given_back}" for one in arguments if one.given_back], "\treturn result;", "}"]
    return "\n".join(lines)


def binding(module, headers):
    """The C text of an extension module with every function of the headers, {file name: text}."""
    functions = [found for text in headers.values() for found in PROTOTYPE.findall(text)]
    table = "".join(f'\t{{ "{name}", (PyCFunction)(void (*)(void))py_{name}, METH_FASTCALL, NULL }},\n' for name, _ in functions)
    leaf = module.rpartition(".")[2]
    return "\n\n".join([
        HEAD + "\n" + "".join(f'#include "{name}"\n' for name in headers),
        *[_function(name, parameters) for name, parameters in functions],
        f"static PyMethodDef functions[] = {{\n{table}\t{{ NULL, NULL, 0, NULL }}\n}};",
        f'static struct PyModuleDef definition = {{ PyModuleDef_HEAD_INIT, "{module}", NULL, 0, functions, NULL, NULL, NULL, NULL }};',
        f"PyMODINIT_FUNC PyInit_{leaf}(void)\n{{\n\treturn PyModuleDef_Init(&definition);\n}}\n",
    ])  # fmt: skip
