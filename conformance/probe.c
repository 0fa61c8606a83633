/*
 * The whole root file system of the clause tests: one static program that tells, as one JSON object, what a process
 * sees from where it stands. It also plays the hooks and the programs that wait, fail or leave a mark.
 *
 *   probe report [PATH...]      the object on standard output, with what each PATH looks like
 *   probe hook FILE [PATH...]   the object into FILE, with what came over standard input
 *   probe append FILE TEXT      TEXT and a newline at the end of FILE
 *   probe wait                  "ready", then the number of the first TERM, USR1, USR2 or HUP that arrives
 *   probe exit N                exit status N
 *   probe hang                  sleep until killed
 *
 * It does not judge: the tests do. Built by the test session: cc -static -Os.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <linux/capability.h>
#include <unistd.h>

static FILE *out;
static const char *comma = "";

/* --- writing JSON ------------------------------------------------------------------------------------------------ */

static void string(const char *text, size_t length)
{
	fputc('"', out);
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)text[i];
		if (byte == '"' || byte == '\\')
			fprintf(out, "\\%c", byte);
		else if (byte < 0x20 || byte > 0x7e)
			fprintf(out, "\\u%04x", byte);
		else
			fputc(byte, out);
	}
	fputc('"', out);
}

static void key(const char *name)
{
	fputs(comma, out);
	string(name, strlen(name));
	fputc(':', out);
	comma = ",";
}

static void open_object(const char *name)
{
	if (name)
		key(name);
	fputc('{', out);
	comma = "";
}

static void close_object(void)
{
	fputc('}', out);
	comma = ",";
}

static void number(const char *name, unsigned long long value)
{
	key(name);
	fprintf(out, "%llu", value);
}

static void text(const char *name, const char *value)
{
	key(name);
	string(value, strlen(value));
}

static void list(const char *name, char **values)
{
	const char *separator = "";

	key(name);
	fputc('[', out);
	for (; *values; values++, separator = ",") {
		fputs(separator, out);
		string(*values, strlen(*values));
	}
	fputc(']', out);
}

/* What a descriptor still holds, up to its end. */
static void contents(const char *name, int fd)
{
	static char buffer[1 << 18];
	size_t length = 0;
	ssize_t got;

	while (length < sizeof buffer && (got = read(fd, buffer + length, sizeof buffer - length)) > 0)
		length += (size_t)got;
	key(name);
	string(buffer, length);
}

static void file(const char *name, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	contents(name, fd);
	close(fd);
}

static void link_target(const char *name, const char *path)
{
	char target[PATH_MAX];
	ssize_t length = readlink(path, target, sizeof target);

	if (length < 0)
		return;
	key(name);
	string(target, (size_t)length);
}

/* --- the process -------------------------------------------------------------------------------------------------- */

/* Before anything is opened: whatever is open now was handed to us. */
static void descriptors(void)
{
	const char *separator = "";

	key("fds");
	fputc('[', out);
	for (int fd = 0; fd < 4096; fd++) {
		if (fd == fileno(out) && fd > 2)
			continue;
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		fprintf(out, "%s%d", separator, fd);
		separator = ",";
	}
	fputc(']', out);
}

static void user(void)
{
	gid_t groups[1024];
	int count = getgroups(1024, groups);
	mode_t mask = umask(0);

	umask(mask);
	number("uid", getuid());
	number("gid", getgid());
	number("umask", mask);
	key("groups");
	fputc('[', out);
	for (int i = 0; i < count; i++)
		fprintf(out, "%s%u", i ? "," : "", groups[i]);
	fputc(']', out);
}

static void capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	unsigned long long bounding = 0, ambient = 0;

	syscall(SYS_capget, &header, data);
	for (int each = 0; each < 64; each++) {
		if (prctl(PR_CAPBSET_READ, each, 0, 0, 0) == 1)
			bounding |= 1ULL << each;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, each, 0, 0) == 1)
			ambient |= 1ULL << each;
	}
	open_object("capabilities");
	number("effective", data[0].effective | (unsigned long long)data[1].effective << 32);
	number("permitted", data[0].permitted | (unsigned long long)data[1].permitted << 32);
	number("inheritable", data[0].inheritable | (unsigned long long)data[1].inheritable << 32);
	number("bounding", bounding);
	number("ambient", ambient);
	close_object();
}

static void rlimits(void)
{
	static const struct { const char *name; int resource; } all[] = {
		{"RLIMIT_AS", RLIMIT_AS}, {"RLIMIT_CORE", RLIMIT_CORE}, {"RLIMIT_CPU", RLIMIT_CPU},
		{"RLIMIT_DATA", RLIMIT_DATA}, {"RLIMIT_FSIZE", RLIMIT_FSIZE}, {"RLIMIT_LOCKS", RLIMIT_LOCKS},
		{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
		{"RLIMIT_NOFILE", RLIMIT_NOFILE}, {"RLIMIT_NPROC", RLIMIT_NPROC}, {"RLIMIT_RSS", RLIMIT_RSS},
		{"RLIMIT_RTPRIO", RLIMIT_RTPRIO}, {"RLIMIT_RTTIME", RLIMIT_RTTIME},
		{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING}, {"RLIMIT_STACK", RLIMIT_STACK},
	};

	open_object("rlimits");
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		struct rlimit limit = {0};
		getrlimit(all[i].resource, &limit);
		key(all[i].name);
		fprintf(out, "[%llu,%llu]", (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
	}
	close_object();
}

static void namespaces(void)
{
	static const char *const all[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};

	open_object("namespaces");
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		char path[64];
		snprintf(path, sizeof path, "/proc/self/ns/%s", all[i]);
		link_target(all[i], path);
	}
	close_object();
}

static void process(int argc, char **argv, char **env)
{
	char cwd[PATH_MAX];
	struct utsname names;

	(void)argc;
	descriptors();
	list("args", argv);
	list("env", env);
	number("pid", (unsigned long long)getpid());
	errno = 0;
	text("cwd", getcwd(cwd, sizeof cwd) ? cwd : "");
	number("getcwd_errno", (unsigned long long)errno);
	uname(&names);
	text("hostname", names.nodename);
	text("domainname", names.domainname);
	user();
	capabilities();
	rlimits();
	number("no_new_privs", (unsigned long long)prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	number("seccomp", (unsigned long long)prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
	number("terminal", (unsigned long long)isatty(0));
	namespaces();
	file("mountinfo", "/proc/self/mountinfo");
	file("cgroup", "/proc/self/cgroup");
	file("uid_map", "/proc/self/uid_map");
	file("gid_map", "/proc/self/gid_map");
	file("oom_score_adj", "/proc/self/oom_score_adj");
}

/* --- the files ---------------------------------------------------------------------------------------------------- */

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "file";
	case S_IFDIR: return "directory";
	case S_IFCHR: return "c";
	case S_IFBLK: return "b";
	case S_IFIFO: return "p";
	case S_IFSOCK: return "socket";
	default: return "other";
	}
}

static unsigned long long entries_of(const char *path)
{
	DIR *folder = opendir(path);
	unsigned long long count = 0;

	if (!folder)
		return 0;
	while (readdir(folder))
		count++;
	closedir(folder);
	return count > 2 ? count - 2 : 0;
}

static bool can_make_in(const char *path)
{
	char name[PATH_MAX];

	snprintf(name, sizeof name, "%s/probe-%d", path, (int)getpid());
	if (mkdir(name, 0700))
		return false;
	rmdir(name);
	return true;
}

static bool can_read(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bool some = fd >= 0 && read(fd, &byte, 1) == 1;

	if (fd >= 0)
		close(fd);
	return some;
}

static bool can_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void look_at(const char *path)
{
	struct stat status;

	open_object(path);
	link_target("link", path);
	if (stat(path, &status)) {
		number("errno", (unsigned long long)errno);
		close_object();
		return;
	}
	text("kind", kind_of(status.st_mode));
	number("mode", status.st_mode & 07777);
	number("uid", status.st_uid);
	number("gid", status.st_gid);
	number("major", major(status.st_rdev));
	number("minor", minor(status.st_rdev));
	number("device", status.st_dev);
	if (S_ISDIR(status.st_mode)) {
		number("entries", entries_of(path));
		number("writable", can_make_in(path));
	} else if (S_ISREG(status.st_mode) || S_ISCHR(status.st_mode)) {
		number("readable", can_read(path));
		number("writable", can_write(path));
	}
	if (S_ISREG(status.st_mode))
		file("text", path);
	close_object();
}

static void report(int argc, char **argv, char **env, int first_path, bool with_input)
{
	open_object(NULL);
	process(argc, argv, env);
	if (with_input)
		contents("stdin", 0);
	open_object("paths");
	for (int i = first_path; i < argc; i++)
		look_at(argv[i]);
	close_object();
	close_object();
	fputc('\n', out);
	fflush(out);
}

/* --- the programs ------------------------------------------------------------------------------------------------- */

static int append(const char *path, const char *words)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (fd < 0 || dprintf(fd, "%s\n", words) < 0)
		return 1;
	return close(fd) ? 1 : 0;
}

static int wait_for_signal(void)
{
	sigset_t set;
	int signal_number;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (write(1, "ready\n", 6) != 6 || sigwait(&set, &signal_number))
		return 1;
	dprintf(1, "%d\n", signal_number);
	return 0;
}

int main(int argc, char **argv, char **env)
{
	const char *verb = argc > 1 ? argv[1] : "";

	out = stdout;
	if (!strcmp(verb, "report")) {
		report(argc, argv, env, 2, false);
		return 0;
	}
	if (!strcmp(verb, "hook") && argc > 2) {
		out = fopen(argv[2], "we");
		if (!out)
			return 1;
		report(argc, argv, env, 3, true);
		return 0;
	}
	if (!strcmp(verb, "append") && argc == 4)
		return append(argv[2], argv[3]);
	if (!strcmp(verb, "wait"))
		return wait_for_signal();
	if (!strcmp(verb, "exit") && argc == 3)
		return atoi(argv[2]);
	if (!strcmp(verb, "hang"))
		for (;;)
			pause();
	return 64;
}
