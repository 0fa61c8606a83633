/* The process: who it is, what it may do, where it stands, which program it becomes. */
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "init.h"

enum { CAPABILITIES = 64 };

static uint32_t low(int64_t mask)
{
	return (uint32_t)((uint64_t)mask & 0xffffffffu);
}

static uint32_t high(int64_t mask)
{
	return (uint32_t)((uint64_t)mask >> 32);
}

OPERATION0(no_new_privileges)
{
	long error = CALL5(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

	return error < 0 ? fail(m, STEP_PRCTL, error, "PR_SET_NO_NEW_PRIVS") : 0;
}

/*
 * On the runtime's procfs, by descriptor: whatever the container calls /proc may not be one, or may show another process's files.
 * It is a wish for the next execve: a startContainer hook's too, which runs what the container brought.
 */
OPERATION(label)
{
	struct open_how how = { .flags = O_WRONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
	int proc = m->slots[a->slot_];
	SCOPED_FD file = -1;
	long written;

	if (filesystem_type(proc) != PROC_SUPER_MAGIC)
		return fail(m, STEP_VERIFY_PROCFS, 0, "/proc");
	file = (int)CALL4(openat2, proc, a->file_, &how, sizeof how);
	if (file == -ENOENT && a->instead_)
		file = (int)CALL4(openat2, proc, a->instead_, &how, sizeof how);
	if (file < 0)
		return fail(m, STEP_OPEN, file, a->file_);
	written = CALL3(write, file, a->text_, strlen(a->text_));
	return written < 0 ? fail(m, STEP_WRITE, written, NULL) : 0;
}

OPERATION(personality)
{
	long error = CALL1(personality, a->value_);

	return error < 0 ? fail(m, STEP_PERSONALITY, error, NULL) : 0;
}

OPERATION(set_umask)
{
	CALL1(umask, a->mask_);
	(void)m;
	return 0;
}

/* A pipe or a file that the caller made is the user's to reopen through /proc/self/fd; a device stays whose it was. */
OPERATION(own_stdio)
{
	for (int fd = 0; fd < 3; fd++) {
		struct statx facts;
		long error;

		if (stat_fd(fd, &facts) < 0 || S_ISCHR(facts.stx_mode) || facts.stx_uid == (uint32_t)a->uid_)
			continue;
		error = CALL3(fchown, fd, (uint32_t)a->uid_, (uint32_t)-1);
		if (error < 0 && error != -EPERM && error != -EROFS && error != -EINVAL)
			return fail_item(m, STEP_FCHOWN, error, (uint32_t)fd, NULL);
	}
	return 0;
}

OPERATION(bound_capabilities)
{
	for (unsigned cap = 0; cap < CAPABILITIES; cap++) {
		long error;

		if ((uint64_t)a->mask_ >> cap & 1)
			continue;
		error = CALL5(prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
		if (error == -EINVAL)
			return 0; /* the kernel knows no more */
		/* Dropping takes CAP_SETPCAP even where there is nothing to drop. */
		if (error < 0 && CALL5(prctl, PR_CAPBSET_READ, cap, 0, 0, 0))
			return fail_item(m, STEP_PRCTL, error, cap, "PR_CAPBSET_DROP");
	}
	return 0;
}

OPERATION(become_user)
{
	long error;

	if (!a->keep_groups_) {
		error = CALL2(setgroups, a->groups_.length / sizeof(uint32_t), m->plan.bytes + a->groups_.offset);
		if (error < 0)
			return fail(m, STEP_SETGROUPS, error, NULL);
	}
	/* `capabilities`, which always comes after this, sets what the process may hold. */
	error = CALL5(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
	if (error < 0)
		return fail(m, STEP_PRCTL, error, "PR_SET_KEEPCAPS");
	error = CALL3(setresgid, (uint32_t)a->gid_, (uint32_t)a->gid_, (uint32_t)a->gid_);
	if (error < 0)
		return fail(m, STEP_SETRESGID, error, NULL);
	error = CALL3(setresuid, (uint32_t)a->uid_, (uint32_t)a->uid_, (uint32_t)a->uid_);
	if (error < 0)
		return fail(m, STEP_SETRESUID, error, NULL);
	CALL5(prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0);
	/* Changing the user makes a process dumpable again where suid_dumpable says so. */
	CALL5(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	return 0;
}

OPERATION(capabilities)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct now[2], data[2];
	uint64_t held;
	long error = CALL2(capget, &header, now);

	if (error < 0)
		return fail(m, STEP_CAPSET, error, NULL);
	/* What can't be granted here is told and left out (config.md#linux-process: SHOULD NOT fail); the rest is set exactly. */
	held = now[0].permitted | (uint64_t)now[1].permitted << 32;
	for (unsigned cap = 0; cap < CAPABILITIES; cap++)
		if ((uint64_t)(a->permitted_ | a->effective_ | a->inheritable_) >> cap & ~held >> cap & 1)
			warn(m, STEP_CAPSET, EPERM, cap);
	data[0].permitted = low(a->permitted_) & low((int64_t)held);
	data[1].permitted = high(a->permitted_) & high((int64_t)held);
	for (int i = 0; i < 2; i++) {
		data[i].effective = (i ? high(a->effective_) : low(a->effective_)) & data[i].permitted;
		data[i].inheritable = (i ? high(a->inheritable_ & (int64_t)held) : low(a->inheritable_ & (int64_t)held));
	}
	error = CALL2(capset, &header, data);
	if (error < 0)
		return fail(m, STEP_CAPSET, error, NULL);
	error = CALL5(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (error < 0)
		return error == -EINVAL ? 0 : fail(m, STEP_PRCTL, error, "PR_CAP_AMBIENT_CLEAR_ALL");
	for (unsigned cap = 0; cap < CAPABILITIES; cap++)
		if ((uint64_t)a->ambient_ >> cap & 1) {
			error = CALL5(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
			if (error < 0)
				warn(m, STEP_PRCTL, error, cap);
		}
	return 0;
}

OPERATION(make_cwd)
{
	SCOPED_FD fd = open_or_make(m, a->path_, TARGET_DIRECTORY, 0, NULL);

	/* ENOTDIR and the like are told by change_directory, in the words for it. */
	(void)fd;
	return 0;
}

OPERATION(change_directory)
{
	struct statx facts;
	char *path;
	long error;

	if (m->in_place)
		return 0;
	error = CALL1(chdir, a->path_);
	/* Root may be shut out where the user is not (root-squashing NFS): the late one comes after the user is set. */
	if ((error == -EACCES || error == -EPERM) && !a->late_)
		return 0;
	if (error < 0)
		return fail(m, STEP_CHDIR, error, a->path_);
	m->in_place = true;
	/* A descriptor that leaked would make this a directory of the host; getcwd(2) then says "(unreachable)". */
	path = grab(m, 0);
	if (!path)
		return -1;
	error = CALL2(getcwd, path, PATH_MAX);
	if (error < 0)
		return fail(m, STEP_GETCWD, error, a->path_);
	if (*path != '/')
		return fail(m, STEP_VERIFY_WORKING_DIRECTORY, 0, a->path_);
	error = CALL5(statx, AT_FDCWD, ".", 0, STATX_BASIC_STATS, &facts);
	return error < 0 ? fail(m, STEP_FSTAT, error, a->path_) : 0;
}

/* name:password:uid:gid:gecos:home:shell of one line, in place; the home directory if the uid is the wanted one. */
static char *home_of_line(char *line, int64_t uid)
{
	char *fields[6];
	uint64_t number = 0;
	int count = 0;

	fields[count++] = line;
	for (char *c = line; *c && count < 6; c++)
		if (*c == ':') {
			*c = 0;
			fields[count++] = c + 1;
		}
	if (count < 6 || !*fields[2])
		return NULL;
	for (char *c = fields[2]; *c; c++) {
		if (*c < '0' || *c > '9' || number > UINT32_MAX)
			return NULL;
		number = number * 10 + (uint64_t)(*c - '0');
	}
	if (number != (uint64_t)uid)
		return NULL;
	for (char *c = fields[5]; *c; c++)
		if (*c == ':')
			*c = 0;
	return fields[5];
}

static int keep_home(struct machine *m, const char *home)
{
	m->home = keep_text(m, "HOME=", *home ? home : "/");
	return m->home ? 0 : -1;
}

OPERATION(home)
{
	SCOPED_FD fd = open_in_root(m, "/etc/passwd", O_RDONLY | O_NONBLOCK, 0);
	char *text;
	size_t length = 0;

	text = grab(m, 0);
	if (!text)
		return -1;
	while (fd >= 0 && length < SCRATCH - 1) {
		long count = CALL3(read, fd, text + length, SCRATCH - 1 - length);

		if (count <= 0)
			break;
		length += (size_t)count;
	}
	text[length] = 0;
	for (char *line = text; *line;) {
		char *next = line, *home;

		while (*next && *next != '\n')
			next++;
		if (*next)
			*next++ = 0;
		home = home_of_line(line, a->uid_);
		if (home)
			return keep_home(m, home);
		line = next;
	}
	return keep_home(m, "/");
}

/* 0 if the program at path can be executed, or the errno that says why not. */
static long check_program(const char *path)
{
	struct statx facts;
	long error = CALL5(statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, &facts);

	if (error < 0)
		return error;
	if (S_ISDIR(facts.stx_mode))
		return -EISDIR;
#ifndef __NR_faccessat2
#define __NR_faccessat2 439
#endif
	return CALL4(faccessat2, AT_FDCWD, path, 1 /* X_OK */, AT_EACCESS);
}

static int keep_program(struct machine *m, const char *path)
{
	m->program = keep_text(m, "", path);
	return m->program ? 0 : -1;
}

OPERATION(find_program)
{
	char path[PATH_MAX];
	const char *dir = a->search_;
	long error, last = ENOENT;

	if (!dir) {
		error = check_program(a->name_);
		return error < 0 ? fail(m, STEP_FIND_PROGRAM, error, a->name_) : keep_program(m, a->name_);
	}
	while (dir) {
		char *to = path;
		const char *end = path + sizeof path;

		while (*dir && *dir != ':' && to + 2 < end)
			*to++ = *dir++;
		if (to == path)
			*to++ = '.';
		*to++ = '/';
		/* A path that does not fit names no file (ENAMETOOLONG), and must not be cut to one that is there. */
		error = (size_t)(end - to) > strlen(a->name_) ? check_program((put_text(to, end, a->name_), path)) : -ENAMETOOLONG;
		if (error >= 0)
			return keep_program(m, path);
		if (error == -EACCES || error == -EISDIR)
			last = EACCES;
		else if (error == -ENOSYS || error == -EPERM) /* an old kernel, or a filter around us: no file would be found */
			return fail(m, STEP_FIND_PROGRAM, error, a->name_);
		while (*dir && *dir != ':')
			dir++;
		dir = *dir ? dir + 1 : NULL;
	}
	return fail_item(m, STEP_FIND_PROGRAM, last, 1, a->name_);
}

static long raise_effective(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	long error = CALL2(capget, &header, data);

	if (error < 0)
		return error;
	data[0].effective = data[0].permitted;
	data[1].effective = data[1].permitted;
	return CALL2(capset, &header, data);
}

OPERATION(seccomp)
{
	struct sock_fprog program = { (unsigned short)(a->filter_.length / sizeof(struct sock_filter)),
				      (void *)(m->plan.bytes + a->filter_.offset) };
	long error = CALL3(seccomp, SECCOMP_SET_MODE_FILTER, (uint32_t)a->flags_, &program);

	/* Without no_new_privs this takes CAP_SYS_ADMIN, which becoming another user made ineffective but left permitted. */
	if (error == -EACCES && raise_effective() >= 0)
		error = CALL3(seccomp, SECCOMP_SET_MODE_FILTER, (uint32_t)a->flags_, &program);
	return error < 0 ? fail(m, STEP_SECCOMP, error, NULL) : 0;
}

/* Before a filter that may know no close_range(2). What init opens after this is close-on-exec by itself. */
OPERATION(close_on_execute)
{
	long error = CALL3(close_range, 3 + (unsigned)a->preserve_, ~0u, CLOSE_RANGE_CLOEXEC);

	return error < 0 ? fail(m, STEP_CLOSE_RANGE, error, NULL) : 0;
}

/*
 * Wait for `start`. From here on the runtime may be gone: the channel is whoever connects and says GO; one who connects
 * and leaves was only asking whether we still wait.
 */
OPERATION(gate)
{
	uint32_t message[10];
	int listener = m->slots[a->slot_];

	let_go(m, listener);
	for (;;) {
		long fd, length;

		do
			fd = CALL4(accept4, listener, NULL, NULL, O_CLOEXEC);
		while (fd == -EINTR || fd == -ECONNABORTED);
		if (fd < 0)
			return fail(m, STEP_ACCEPT, fd, NULL);
		do
			length = CALL6(recvfrom, fd, message, sizeof message, 0, NULL, NULL);
		while (length == -EINTR);
		if (length == sizeof message && message[0] == MESSAGE_GO) {
			m->channel = (int)fd;
			break;
		}
		close_fd((int)fd);
	}
	close_fd(listener);
	m->slots[a->slot_] = -1;
	return 0;
}

static const char *own_pid_word(struct machine *m)
{
	char *word = grab(m, 64);

	if (word)
		put_number(put_text(word, word + 32, "LISTEN_PID="), (uint64_t)CALL0(getpid));
	return word;
}

__attribute__((noreturn)) OPERATION0(leave)
{
	(void)m;
	exit_now(0);
}

OPERATION(execute)
{
	size_t words = (size_t)a->args_.count + a->env_.count + 5;
	const char **argv = (const char **)(void *)grab(m, words * sizeof(char *));
	const char **envp, **to = argv;
	const char *word = list_first(&m->plan, a->args_);
	long error;

	if (!argv)
		return -1;
	for (uint32_t i = 0; i < a->args_.count; i++, word = list_next(word))
		*to++ = word;
	*to++ = NULL;
	envp = to;
	word = list_first(&m->plan, a->env_);
	for (uint32_t i = 0; i < a->env_.count; i++, word = list_next(word))
		*to++ = word;
	if (m->home)
		*to++ = m->home;
	if (a->listen_) {
		*to = own_pid_word(m);
		if (!*to++)
			return -1;
	}
	*to = NULL;
	error = CALL3(execve, m->program, argv, envp);
	return fail(m, STEP_EXECVE, error, m->program);
}
