/*
 * minidocker-init, bound into a container as /sbin/docker-init for --init: runs a program as its child, passes it every signal, reaps whatever is orphaned
 * to pid 1, and ends as the program ended.  `docker-init -- PROGRAM [ARGUMENT...]`.  The program has the foreground of the terminal, if there is one.
 * Source: pid_namespaces(7), docker-run(1) --init, execvp(3), tcsetpgrp(3).
 */
#include "../init/nolibc.h"

enum { SIGCHLD_ = 17, SIGTTIN_ = 21, SIGTTOU_ = 22, SIG_SETMASK_ = 2, WNOHANG_ = 1, TIOCSPGRP_ = 0x5410 };
enum { SIGILL_ = 4, SIGTRAP_ = 5, SIGBUS_ = 7, SIGFPE_ = 8, SIGSEGV_ = 11, SIGSYS_ = 31 };

static char path[PATH_MAX];

static const char *variable(char **environ, const char *name)
{
	for (; *environ; environ++)
		if (text_starts(*environ, name))
			return *environ + strlen(name);
	return 0;
}

static int has_slash(const char *word)
{
	while (*word)
		if (*word++ == '/')
			return 1;
	return 0;
}

/* As execvp: a name without a slash is looked for in PATH; EACCES is remembered.  Returns -errno. */
static long execute(char **argv, char **environ)
{
	const char *search = variable(environ, "PATH=");
	long error = -ENOENT, found;

	if (has_slash(argv[0]))
		return CALL3(execve, argv[0], argv, environ);
	if (!search)
		search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (;;) {
		char *end = path;

		while (*search && *search != ':' && end + 2 < path + sizeof path)
			*end++ = *search++;
		if (end == path)
			*end++ = '.';
		*end++ = '/';
		/* A path that does not fit names no file, and must not be cut to one that is there. */
		found = -ENOENT;
		if ((size_t)(path + sizeof path - end) > strlen(argv[0])) {
			put_text(end, path + sizeof path, argv[0]);
			found = CALL3(execve, path, argv, environ);
		}
		if (found != -ENOENT && found != -ENOTDIR)
			error = found;
		if (found != -EACCES && found != -ENOENT && found != -ENOTDIR)
			return found;
		while (*search && *search != ':')
			search++;
		if (!*search++)
			return error;
	}
}

static void say(const char *program, const char *words)
{
	char text[512] = "";
	char *at = put_text(text, text + 256, "docker-init: ");

	at = put_text(at, text + 400, program);
	at = put_text(at, text + sizeof text, words);
	CALL3(write, 2, text, (size_t)(at - text));
}

__attribute__((noreturn)) static void become(char **argv, char **environ, uint64_t mask)
{
	int group;
	long error;

	CALL2(setpgid, 0, 0);
	group = (int)CALL0(getpid);
	CALL3(ioctl, 0, TIOCSPGRP_, &group);
	CALL4(rt_sigprocmask, SIG_SETMASK_, &mask, 0, 8);
	error = execute(argv, environ);
	say(argv[0], error == -ENOENT ? ": not found\n" : ": can't be executed\n");
	exit_now(error == -ENOENT ? 127 : 126);
}

static int status_of(int status)
{
	return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

__attribute__((noreturn, used)) void start(long *stack);
void start(long *stack)
{
	char **argv = (char **)(stack + 1);
	char **environ = argv + stack[0] + 1;
	uint64_t ours = ~0ULL, before = 0;
	long child;

	argv++;
	if (*argv && text_equal(*argv, "--"))
		argv++;
	if (!*argv) {
		say("", "no program was named\n");
		exit_now(127);
	}
	/* What a fault of our own raises must not wait. */
	ours &= ~(1ULL << (SIGILL_ - 1) | 1ULL << (SIGTRAP_ - 1) | 1ULL << (SIGBUS_ - 1) | 1ULL << (SIGFPE_ - 1) | 1ULL << (SIGSEGV_ - 1) |
		  1ULL << (SIGSYS_ - 1));
	CALL4(rt_sigprocmask, SIG_SETMASK_, &ours, &before, 8);
	child = CALL5(clone, SIGCHLD_, 0, 0, 0, 0);
	if (child == 0)
		become(argv, environ, before);
	if (child < 0)
		exit_now(125);
	for (;;) {
		char information[128];
		long number = CALL4(rt_sigtimedwait, &ours, information, 0, 8);
		int status;
		long pid;

		if (number != SIGCHLD_) {
			if (number > 0 && number != SIGTTIN_ && number != SIGTTOU_)
				CALL2(kill, child, number);
			continue;
		}
		while ((pid = CALL4(wait4, -1, &status, WNOHANG_, 0)) > 0)
			if (pid == child)
				exit_now(status_of(status));
	}
}
