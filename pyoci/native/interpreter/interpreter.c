/* The interpreter that the launcher prefers: CPython's own library, linked in, and started by half.
 *
 * It is called as the ordinary one would be: PYTHON -IS -Xutf8 -X pyoci_site=FOLDER MAIN ARGUMENTS. CPython starts in two phases. The first, "core",
 * has the types, the builtin modules and the frozen ones; the second has the path, the encodings, io and the standard streams, and costs more than
 * the first. A frequent verb needs nothing of it: so hot.py, from the file of all code, is run after the first, and calls complete() once something
 * wants the rest.
 *
 * A short cut, and never the only way: where anything is unusual this becomes PYTHON by execve. So it does where PYTHON is not the program that was
 * there at the build, by its size and time: an upgraded one has repairs that are not in here, and another may have another standard library.
 *
 * Sources: Python/C API, "Python Initialization Configuration", and there "Multi-Phase Initialization Private Provisional API".
 */
#include <Python.h>

#include <fcntl.h>
#include <marshal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STRING(word) #word
#define AS_STRING(word) STRING(word)
#define CODE_FILE "/__pycache__/hot.cpython-3" AS_STRING(PY_MINOR_VERSION) /* hot.FILE */
#define MAGIC "pyoci hot 10\n"

/* In no public header: the second phase, and the part of it that lets SIGINT raise KeyboardInterrupt. */
PyStatus _Py_InitializeMain(void);
int _PySignal_Init(int install_signal_handlers);
/* Nor these: the interning of all strings in the code of frozen modules. build.py has the linker put our function in its place. */
int __real__Py_Deepfreeze_Init(void);
int __wrap__Py_Deepfreeze_Init(void);
int _PyStaticCode_InternStrings(PyCodeObject *code);
PyObject *_Py_get_importlib__bootstrap_toplevel(void);

enum { PYTHON, FLAGS, UTF8, X, SITE, MAIN, LEAST_ARGUMENTS }; /* argv */
enum { MAGIC_BYTES = sizeof MAGIC - 1, HEAD_BYTES = MAGIC_BYTES + 16 };

/* Of the interpreter that this was built for. */
#ifndef PYOCI_PYTHON_BYTES
#define PYOCI_PYTHON_BYTES 0
#define PYOCI_PYTHON_NS 0
#endif

static const char main_of_pyoci[] = "/pyoci/__main__.py";

/* Put the package's folder into `folder`, if MAIN is its way in. Returns 0 or -1. */
static int find_folder(const char *main, char folder[PATH_MAX])
{
    size_t length = strlen(main), tail = sizeof main_of_pyoci - 1;
    if (length < tail || length >= PATH_MAX || strcmp(main + length - tail, main_of_pyoci) != 0)
        return -1;
    length -= sizeof "/__main__.py" - 1;
    memcpy(folder, main, length);
    folder[length] = 0;
    return 0;
}

static int is_built_for(const char *python)
{
    struct stat facts;
    return stat(python, &facts) == 0 && facts.st_size == PYOCI_PYTHON_BYTES && facts.st_mtim.tv_sec * 1000000000L + facts.st_mtim.tv_nsec == PYOCI_PYTHON_NS;
}

/* The file of all code. */
struct code_file {
    const char *bytes;
    size_t length;
    size_t hot_length; /* of hot.py's code, which comes after the head */
};

/* Map the file into memory. Returns 0, or -1: no such file, a torn one, or one that somebody else may write to. */
static int map_code(const char *folder, struct code_file *file)
{
    char path[PATH_MAX + sizeof CODE_FILE];
    const unsigned char *head;
    struct stat facts;
    int fd, is_ours;

    snprintf(path, sizeof path, "%s" CODE_FILE, folder);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    is_ours = fstat(fd, &facts) == 0 && !(facts.st_mode & 022) && (facts.st_uid == 0 || facts.st_uid == geteuid()) && facts.st_size > HEAD_BYTES;
    file->length = (size_t)facts.st_size;
    file->bytes = is_ours ? mmap(NULL, file->length, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (file->bytes == MAP_FAILED)
        return -1;
    head = (const unsigned char *)file->bytes;
    file->hot_length = head[MAGIC_BYTES] | (size_t)head[MAGIC_BYTES + 1] << 8;
    return memcmp(head, MAGIC, MAGIC_BYTES) == 0 && file->hot_length <= file->length - HEAD_BYTES ? 0 : -1;
}

/* In the first phase, of which importlib is the only frozen module; the others' strings are a megabyte that would have to be read and written.
 * No garbage is collected from here on, as in __main__.py. */
int __wrap__Py_Deepfreeze_Init(void)
{
    PyObject *code = _Py_get_importlib__bootstrap_toplevel();
    int error = _PyStaticCode_InternStrings((PyCodeObject *)code);
    Py_DECREF(code);
    PyGC_Disable();
    return error;
}

/* What sys._xoptions tells. */
static PyStatus add_options(PyConfig *config, char **argv)
{
    PyStatus status = PyWideStringList_Append(&config->xoptions, L"utf8");
    wchar_t *site = PyStatus_Exception(status) ? NULL : Py_DecodeLocale(argv[SITE], NULL);
    if (site)
        status = PyWideStringList_Append(&config->xoptions, site);
    PyMem_RawFree(site);
    return status;
}

/* Python's small objects: 3 MB in a `run`, which were 700 faults of a page, and are two of a huge page where the kernel has some. */
enum { HUGE_BYTES = 2 << 20, ROOM_BYTES = 2 * HUGE_BYTES };
static uintptr_t room, room_end;

static void *map_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Address space that begins where a huge page can. */
static void make_room(void)
{
    uintptr_t memory = (uintptr_t)map_memory(ROOM_BYTES + HUGE_BYTES);
    if (!memory)
        return;
    room = (memory + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    room_end = room + ROOM_BYTES;
    madvise((void *)room, ROOM_BYTES, MADV_HUGEPAGE);
}

static void *take_arena(void *nothing, size_t bytes)
{
    void *arena = (void *)room;
    (void)nothing;
    if (bytes > room_end - room)
        return map_memory(bytes);
    room += bytes;
    return arena;
}

static void free_arena(void *nothing, void *arena, size_t bytes)
{
    (void)nothing;
    munmap(arena, bytes);
}

/* CPython's first phase. Returns 0 or -1. */
static int start_core(int argc, char **argv)
{
    PyObjectArenaAllocator arenas = {NULL, take_arena, free_arena};
    PyPreConfig preconfig;
    PyConfig config;
    PyStatus status;

    make_room();
    PyObject_SetArenaAllocator(&arenas);
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    status = Py_PreInitialize(&preconfig);
    if (PyStatus_Exception(status))
        return -1;
    PyConfig_InitIsolatedConfig(&config);
    config._init_main = 0;
    config.site_import = 0;
    config.install_signal_handlers = 0;
    status = PyConfig_SetBytesString(&config, &config.program_name, argv[PYTHON]);
    if (!PyStatus_Exception(status)) /* these two for what is decoded before the second phase would find them out */
        status = PyConfig_SetString(&config, &config.filesystem_encoding, L"utf-8");
    if (!PyStatus_Exception(status))
        status = PyConfig_SetString(&config, &config.filesystem_errors, L"surrogateescape");
    if (!PyStatus_Exception(status))
        status = add_options(&config, argv);
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesArgv(&config, argc - MAIN, argv + MAIN);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return PyStatus_Exception(status) || _PySignal_Init(1) < 0 ? -1 : 0;
}

/* CPython's second phase. */
static PyStatus start_rest(void)
{
    return __real__Py_Deepfreeze_Init() < 0 ? PyStatus_NoMemory() : _Py_InitializeMain();
}

/* The same for hot.py, which calls it once, if at all. */
static PyObject *complete(PyObject *self, PyObject *none)
{
    PyStatus status = start_rest();
    (void)self;
    (void)none;
    if (PyStatus_Exception(status))
        return PyErr_Format(PyExc_RuntimeError, "%s: %s", status.func, status.err_msg);
    Py_RETURN_NONE;
}

/* Whether one source is as it was; -1 with an error. row: hot.py's. */
static int is_unchanged(const char *folder, const char *library, PyObject *row)
{
    const char *name, *inner;
    long long mtime_ns, size;
    char path[PATH_MAX];
    struct stat facts;

    if (!PyArg_ParseTuple(row, "ssLLOO", &name, &inner, &mtime_ns, &size, &(PyObject *){0}, &(PyObject *){0}))
        return -1;
    return (size_t)snprintf(path, sizeof path, "%s%s", strncmp(name, "pyoci", 5) == 0 ? folder : library, inner) < sizeof path && stat(path, &facts) == 0 &&
        facts.st_size == size && facts.st_mtim.tv_sec * 1000000000LL + facts.st_mtim.tv_nsec == mtime_ns;
}

/* are_unchanged(rows, folder, library) of hot.py, whose own would cost a hundredth of a `run`. */
static PyObject *are_unchanged(PyObject *self, PyObject *args)
{
    PyObject *rows, *folder, *library;
    int same = 1;

    (void)self;
    if (!PyArg_ParseTuple(args, "O!O&O&", &PyTuple_Type, &rows, PyUnicode_FSConverter, &folder, PyUnicode_FSConverter, &library))
        return NULL;
    for (Py_ssize_t index = 0; same > 0 && index < PyTuple_GET_SIZE(rows); index++)
        same = is_unchanged(PyBytes_AS_STRING(folder), PyBytes_AS_STRING(library), PyTuple_GET_ITEM(rows, index));
    Py_DECREF(folder);
    Py_DECREF(library);
    return same < 0 ? NULL : PyBool_FromLong(same);
}

static PyMethodDef completion = {"complete", complete, METH_NOARGS, "Start what the standard library needs."};
static PyMethodDef comparison = {"are_unchanged", are_unchanged, METH_VARARGS, "Whether all sources are as they were."};

/* argv from MAIN on, as sys.argv. */
static PyObject *arguments(int argc, char **argv)
{
    PyObject *list = PyList_New(argc - MAIN);
    for (int index = MAIN; list && index < argc; index++) {
        PyObject *word = PyUnicode_DecodeUTF8(argv[index], (Py_ssize_t)strlen(argv[index]), "surrogateescape");
        if (!word)
            return NULL;
        PyList_SET_ITEM(list, index - MAIN, word);
    }
    return list;
}

/* Run hot.py, which makes ready for imports. Returns the Finder; None if the ordinary interpreter is wanted; NULL with an error. */
static PyObject *start_hot(const char *folder, const struct code_file *file, int argc, char **argv)
{
    PyObject *code = PyMarshal_ReadObjectFromString(file->bytes + HEAD_BYTES, (Py_ssize_t)file->hot_length);
    PyObject *hot = PyImport_AddModule("pyoci.hot");
    PyObject *space = hot ? PyModule_GetDict(hot) : NULL;
    PyObject *source = PyUnicode_FromFormat("%s/hot.py", folder);
    PyObject *view = PyMemoryView_FromMemory((char *)file->bytes, (Py_ssize_t)file->length, PyBUF_READ);
    if (!code) { /* torn */
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    if (!space || !source || !view || PyDict_SetItemString(space, "__file__", source) < 0 ||
        PyDict_SetItemString(space, "__builtins__", PyEval_GetBuiltins()) < 0)
        return NULL;
    if (!PyEval_EvalCode(code, space, space))
        return NULL;
    return PyObject_CallMethod(hot, "start_embedded", "NNNNs", PyCFunction_New(&completion, NULL), PyCFunction_New(&comparison, NULL), view,
                               arguments(argc, argv), strchr(argv[SITE], '=') + 1);
}

/* What the last lines of __main__.py do; it leaves the process. */
static void enter(PyObject *finder)
{
    PyObject *module = PyImport_ImportModule("pyoci.cli.main");
    if (module)
        PyObject_CallMethod(module, "entry", "O", finder);
}

/* A fault of ours: a traceback, as the ordinary interpreter would show it, which needs the second phase. */
static void show_error(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    start_rest();
    PyErr_Restore(type, value, traceback);
    PyErr_Print();
}

int main(int argc, char **argv)
{
    static char folder[PATH_MAX];
    struct code_file file;

    if (argc < LEAST_ARGUMENTS) {
        puts(Py_GetVersion()); /* asked by the build */
        return 0;
    }
    if (is_built_for(argv[PYTHON]) && find_folder(argv[MAIN], folder) == 0 && map_code(folder, &file) == 0 && start_core(argc, argv) == 0) {
        PyObject *finder = start_hot(folder, &file, argc, argv);
        if (finder != Py_None) {
            if (finder)
                enter(finder);
            show_error();
            return 1;
        }
    }
    execv(argv[PYTHON], argv);
    perror(argv[PYTHON]);
    return 1;
}
