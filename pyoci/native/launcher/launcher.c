/* What stands in bin/pyoci: finds the interpreter and the package, and becomes `python3 ... pyoci/__main__.py ARGUMENTS`.
 *
 * pip's own console script would cost 8 ms (its imports) and `site` another 2.5; installers also drop the flags of a script's first
 * line. They copy a program unchanged, so all that it knows is where it stands: /proc/self/exe, which has symbolic links (pipx,
 * a link named runc) resolved already. Nothing is read from the environment: callers give none.
 *
 * The search, where BIN/pyoci is the program and PREFIX stands for BIN/.. :
 *   1. package      PREFIX/{lib,lib64}/python3.N/{site,dist}-packages/pyoci, N that of the build (PYOCI_MINOR), then downwards: a virtual
 *                   environment, pipx, a prefix, --user
 *                   PREFIX/lib/python3/dist-packages/pyoci: a Debian package
 *                   PREFIX/pyoci: pip install --target
 *   2. interpreter  PREFIX/bin/python3.N, PREFIX/bin/python3, then the same in /usr/bin and /usr/local/bin; python3 alone if N is unknown
 * `pip install -e` and a build in place name the source tree (PYOCI_TREE), as no path of an installation leads to it; then the first
 * step only looks for the site-packages of PYOCI_MINOR, where cffi is. A build in place names its interpreter's PREFIX too.
 *
 * Python gets -I (no environment, no user's packages), -X utf8 (paths are bytes, whatever the locale), and -S (no `site`: __main__.py extends
 * sys.path by the one folder that is named here). Where our dependencies are not all in that folder, as with --system-site-packages,
 * -S is left out: only `site` knows where they are. With -S, the interpreter that was built along (../interpreter), if there is one of this version,
 * is executed in the other's name: it goes on by itself, or becomes the other.
 *
 * bin/minidocker is the same program, built with another PYOCI_NAME and PYOCI_MAIN.
 *
 * Freestanding: no libc, no heap. Sources: execve(2), syscalls(2), PEP 405, Debian's python policy.
 */
#include <linux/fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>

#ifndef PYOCI_NAME
#define PYOCI_NAME "pyoci"
#endif
#ifndef PYOCI_MAIN
#define PYOCI_MAIN "/pyoci/__main__.py"
#endif
#ifndef PYOCI_TREE
#define PYOCI_TREE ""
#endif
#ifndef PYOCI_PREFIX
#define PYOCI_PREFIX ""
#endif
#ifndef PYOCI_MINOR
#define PYOCI_MINOR NO_MINOR
#endif

enum { PATH_BYTES = 4096, NEWEST_MINOR = 40, OLDEST_MINOR = 11, NO_MINOR = 0, OPTIONS = 8, ENOENT = 2, ENOTDIR = 20 };

/* --- the kernel -------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)

static long call(long number, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall launch\n");

#elif defined(__aarch64__)

static long call(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl launch\n");

#else
#error "pyoci runs on x86-64 and arm64"
#endif

__attribute__((noreturn)) static void leave(int status)
{
    for (;;)
        call(SYS_exit_group, status, 0, 0, 0);
}

static int exists(const char *path)
{
    return call(SYS_faccessat, AT_FDCWD, (long)path, 0 /* F_OK */, 0) == 0;
}

/* --- text -------------------------------------------------------------------------------------------------------- */

/* A path under construction; `full` once something did not fit. */
struct text {
    size_t length;
    int full;
    char bytes[PATH_BYTES];
};

static void add(struct text *text, const char *more)
{
    while (*more && text->length + 1 < PATH_BYTES)
        text->bytes[text->length++] = *more++;
    if (*more)
        text->full = 1;
    text->bytes[text->length] = 0;
}

static void add_number(struct text *text, int number)
{
    char digits[3] = {(char)('0' + number / 10), (char)('0' + number % 10), 0};
    add(text, number < 10 ? digits + 1 : digits);
}

static void cut(struct text *text, size_t length)
{
    text->length = length;
    text->bytes[length] = 0;
}

/* Cut the last component off; 0 if there is none. */
static int cut_component(struct text *text)
{
    size_t length = text->length;
    while (length && text->bytes[length - 1] != '/')
        length--;
    if (!length)
        return 0;
    cut(text, length - 1);
    return 1;
}

__attribute__((noreturn)) static void fail(const char *what, const char *on, const char *why)
{
    static struct text line;
    add(&line, PYOCI_NAME ": ");
    add(&line, what);
    add(&line, on);
    add(&line, why);
    add(&line, "\n");
    call(SYS_write, 2, (long)line.bytes, (long)line.length, 0);
    leave(1);
}

/* --- the search -------------------------------------------------------------------------------------------------- */

static struct text prefix;  /* PREFIX */
static struct text site;    /* the folder with cffi, and with pyoci unless there is a source tree */
static struct text package; /* .../pyoci/__main__.py */
static int minor;           /* of the interpreter, or NO_MINOR */
static int complete;        /* whether the site-packages folder has all that pyoci imports */

static void find_prefix(void)
{
    long length;
    add(&prefix, PYOCI_PREFIX);
    if (prefix.length)
        return;
    length = call(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)prefix.bytes, PATH_BYTES - 1);
    if (length < 0)
        fail("cannot read /proc/self/exe", "", "; is /proc mounted?");
    cut(&prefix, (size_t)length);
    if (length == PATH_BYTES - 1 || !cut_component(&prefix) || !cut_component(&prefix))
        fail("unexpected place: ", prefix.bytes, "");
}

/* Whether `site` is the folder that we look for. */
static int is_site(void)
{
    size_t length = site.length;
    int found;
    if (!PYOCI_TREE[0])
        add(&site, "/pyoci/__main__.py");
    found = !site.full && exists(site.bytes);
    cut(&site, length);
    return found;
}

static int is_site_of(const char *library, int candidate)
{
    cut(&site, 0);
    add(&site, prefix.bytes);
    add(&site, library);
    add(&site, "/python3");
    if (candidate != NO_MINOR) {
        size_t length;
        add(&site, ".");
        add_number(&site, candidate);
        if (!exists(site.bytes))
            return 0;
        length = site.length;
        add(&site, "/site-packages");
        if (is_site())
            return 1;
        cut(&site, length);
    }
    add(&site, "/dist-packages");
    return is_site();
}

static int find_site_in(const char *library)
{
    minor = PYOCI_MINOR;
    if (minor != NO_MINOR && is_site_of(library, minor))
        return 1;
    if (!PYOCI_TREE[0])
        for (minor = NEWEST_MINOR; minor >= OLDEST_MINOR; minor--)
            if (is_site_of(library, minor))
                return 1;
    minor = NO_MINOR;
    return is_site_of(library, NO_MINOR);
}

static void find_site(void)
{
    if (find_site_in("/lib") || find_site_in("/lib64"))
        return;
    minor = PYOCI_TREE[0] ? PYOCI_MINOR : NO_MINOR;
    cut(&site, 0);
    add(&site, prefix.bytes);
    if (!is_site())
        fail("the package pyoci is not installed in ", prefix.bytes, "; link to the installed program instead of copying it");
}

static void find_package(void)
{
    add(&package, PYOCI_TREE[0] ? PYOCI_TREE : site.bytes);
    add(&package, PYOCI_MAIN);
    if (PYOCI_TREE[0] && !exists(package.bytes))
        fail("the source tree that was installed with pip install -e is gone: ", PYOCI_TREE, "");
}

static void find_dependencies(void)
{
    static const char *const dependencies[] = {"/cffi/__init__.py", "/jsonschema/__init__.py", "/pyroute2/__init__.py"};
    size_t length = site.length;
    complete = 1;
    for (size_t index = 0; index < sizeof dependencies / sizeof *dependencies; index++) {
        add(&site, dependencies[index]);
        complete = complete && exists(site.bytes);
        cut(&site, length);
    }
}

/* --- the start --------------------------------------------------------------------------------------------------- */

/* Execute our own interpreter where it can stand for `python`; returns if it can't. */
static void try_own(const struct text *python, char **argv, char **environ)
{
    static struct text own;
    if (minor == NO_MINOR || !complete || !exists(python->bytes))
        return;
    add(&own, PYOCI_TREE[0] ? PYOCI_TREE : site.bytes);
    add(&own, "/pyoci/native/interpreter/python3.");
    add_number(&own, minor);
    if (!own.full)
        call(SYS_execve, (long)own.bytes, (long)argv, (long)environ, 0);
    cut(&own, 0);
}

/* Become this interpreter; returns if it is not there. */
static void try_interpreter(const char *root, int number, char **argv, char **environ)
{
    static struct text python;
    long error;
    cut(&python, 0);
    add(&python, root);
    add(&python, "/bin/python3");
    if (number != NO_MINOR) {
        add(&python, ".");
        add_number(&python, number);
    }
    argv[0] = python.bytes;
    try_own(&python, argv, environ);
    error = python.full ? -ENOENT : call(SYS_execve, (long)python.bytes, (long)argv, (long)environ, 0);
    if (error != -ENOENT && error != -ENOTDIR)
        fail("cannot execute the interpreter ", python.bytes, "");
}

static void start(char **argv, char **environ)
{
    const char *roots[] = {prefix.bytes, "/usr", "/usr/local"};
    for (size_t index = 0; index < sizeof roots / sizeof *roots; index++) {
        if (minor != NO_MINOR)
            try_interpreter(roots[index], minor, argv, environ);
        if (minor == NO_MINOR || index == 0) /* a plain python3 elsewhere may be another version than the package's */
            try_interpreter(roots[index], NO_MINOR, argv, environ);
    }
    fail("no python3 found for ", package.bytes, "");
}

/* The stack as the kernel leaves it: argc, argv, a null, the environment, a null. */
__attribute__((noreturn, used)) void launch(long *stack);
void launch(long *stack)
{
    long argc = stack[0];
    char **given = (char **)(stack + 1);
    char **environ = given + argc + 1;
    static struct text option;

    find_prefix();
    find_site();
    find_package();
    find_dependencies();
    add(&option, "pyoci_site=");
    add(&option, site.bytes);
    if (package.full || option.full)
        fail("the path is too long: ", prefix.bytes, "");

    char *argv[argc + OPTIONS];
    char **next = argv;
    *next++ = NULL; /* the interpreter */
    *next++ = (char *)(complete ? "-IS" : "-I");
    *next++ = (char *)"-Xutf8";
    *next++ = (char *)"-X";
    *next++ = option.bytes;
    *next++ = package.bytes;
    for (long index = 1; index < argc; index++)
        *next++ = given[index];
    *next = NULL;
    start(argv, environ);
    leave(1);
}
