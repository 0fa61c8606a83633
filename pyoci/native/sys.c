/*
 * The cffi shim: the calls that Python's posix module lacks, one function a call, no policy.
 * Every function returns >= 0, or -errno, so that no thread's errno is lost between C and Python.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sys.h"

/* The numbers are the same on every architecture since the tables were unified (Linux 5.1). */
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_fsopen
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif

static int result(long value)
{
	return value < 0 ? -errno : (int)value;
}

int sys_openat2(int dirfd, const char *path, int flags, int mode, int resolve)
{
	struct open_how how = { .flags = (unsigned)flags, .mode = (unsigned)mode, .resolve = (unsigned)resolve };

	for (int tries = 0; tries < 128; tries++) {
		int fd = result(syscall(SYS_openat2, dirfd, path, &how, sizeof how));

		/* A rename or a mount anywhere may spoil the walk: EAGAIN asks for another try (openat2(2)). */
		if (fd != -EAGAIN && fd != -EINTR)
			return fd;
	}
	return -EAGAIN;
}

int sys_setns(int fd, int type)
{
	return result(setns(fd, type));
}

int sys_namespace_type(int fd)
{
	return result(ioctl(fd, NS_GET_NSTYPE));
}

int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
	return result(syscall(SYS_open_tree, dirfd, path, flags));
}

struct mount_attributes {
	uint64_t set, clear, propagation, user_namespace;
};

int sys_mount_setattr(int fd, unsigned flags, unsigned long long set, unsigned long long clear,
			     unsigned long long propagation)
{
	struct mount_attributes attributes = { set, clear, propagation, 0 };

	return result(syscall(SYS_mount_setattr, fd, "", flags, &attributes, sizeof attributes));
}

int sys_unshare(unsigned long long flags)
{
	return result(unshare((int)flags));
}

/* What sys_spawn was at when it failed. */
enum stage { AT_CLONE = -1, AT_CAPABILITIES = -2, AT_DESCRIPTORS = -3, AT_EXECUTE = -4 };

/* What the child of sys_spawn needs; it runs on the parent's memory until execveat. */
struct child {
	int exe_fd, channel_fd, channel_number, raise_capabilities, open;
	volatile int error, stage;
};

/*
 * A new user namespace gives every capability, and execveat by a user that has no mapping yet would take them
 * away: the ambient set carries them over (capabilities(7)). init clears it once it is root.
 */
static int raise_all_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	data[0].inheritable = data[0].permitted;
	data[1].inheritable = data[1].permitted;
	if (syscall(SYS_capset, &header, data) < 0)
		return -errno;
	for (unsigned long cap = 0; cap < 64; cap++)
		if ((data[cap / 32].permitted >> (cap % 32)) & 1)
			if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
				return -errno;
	return 0;
}

__attribute__((noreturn, noinline)) static void become_init(struct child *child)
{
	char number[12];
	char *argv[] = { "pyoci-init", number, child->open ? "open" : NULL, NULL };
	char *envp[] = { NULL };
	/* The kernel's struct sigaction; the C library's call refuses 32 and 33, which it keeps for itself. */
	static const unsigned long default_action[4];
	sigset_t none;
	unsigned channel = (unsigned)child->channel_number;
	int fd = child->channel_fd, exe = child->exe_fd;

	child->stage = AT_CAPABILITIES;
	if (child->raise_capabilities && (child->error = raise_all_capabilities()) < 0)
		_exit(127);
	child->stage = AT_DESCRIPTORS;
	/* The executable may sit on the number that the channel needs. */
	if (exe == child->channel_number && (exe = fcntl(exe, F_DUPFD_CLOEXEC, child->channel_number + 1)) < 0)
		goto fail;
	if (fd == child->channel_number) {
		if (fcntl(fd, F_SETFD, 0) < 0)
			goto fail;
	} else if (dup2(fd, child->channel_number) < 0)
		goto fail;
	/* Nothing of the caller's goes along but 0, 1, 2, the preserved descriptors below the channel, and the channel. */
	if (syscall(SYS_close_range, channel + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		goto fail;
	snprintf(number, sizeof number, "%d", child->channel_number);
	/* Python ignores SIGPIPE and SIGXFSZ, a library's user what he likes, and execve keeps that: a container begins with the defaults. */
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		syscall(SYS_rt_sigaction, signal_number, default_action, NULL, sizeof(uint64_t));
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	child->stage = AT_EXECUTE;
	syscall(SYS_execveat, exe, "", argv, envp, AT_EMPTY_PATH);
fail:
	child->error = -errno;
	_exit(127);
}

/* clone3 without a stack of its own shares the caller's, as vfork does: no call frame may lie between the two returns. */
static inline __attribute__((always_inline)) long clone3_here(struct clone_args *args, size_t size)
{
#if defined(__x86_64__)
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"((long)SYS_clone3), "D"(args), "S"(size) : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long number __asm__("x8") = SYS_clone3;
	register long first __asm__("x0") = (long)args;
	register long second __asm__("x1") = (long)size;

	__asm__ volatile("svc 0" : "+r"(first) : "r"(number), "r"(second) : "memory");
	return first;
#else
#error "pyoci knows x86-64 and arm64"
#endif
}

/*
 * Start the program in exe_fd as a child with the clone3 flags given, channel_fd as its descriptor channel_number.
 * cgroup_fd >= 0: it becomes a member of that cgroup. open: init lets its /proc/PID be written to until it is told to run.
 * Returns the pid.
 *
 * Until execveat the child is this program in another's eyes: it is never made in a pid namespace that others are in already,
 * where they could open /proc/PID/exe (CVE-2019-5736). init joins such a one itself.
 * After a failure *pidfd is the stage that failed.
 */
int sys_spawn(unsigned long long flags, int cgroup_fd, int exe_fd, int channel_fd,
		     int channel_number, int raise_capabilities, int open, int *pidfd)
{
	struct child child = { exe_fd, channel_fd, channel_number, raise_capabilities, open, 0, 0 };
	struct clone_args args = { .flags = flags | CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
				   .pidfd = (uint64_t)(uintptr_t)pidfd, .exit_signal = SIGCHLD };
	sigset_t all, old;
	long pid;

	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = clone3_here(&args, sizeof args);
	if (pid == 0)
		become_init(&child);
	if (pid < 0)
		*pidfd = AT_CLONE; /* the kernel may have put a number there that came to nothing */
	if (pid > 0 && child.error < 0) {
		siginfo_t ignored;

		syscall(SYS_waitid, 1 /* P_PID */, (int)pid, &ignored, 4 /* WEXITED */, NULL);
		close(*pidfd);
		*pidfd = child.stage;
		pid = child.error;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return (int)pid;
}

int sys_socketpair(int *pair)
{
	return result(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
}

#define MAX_FDS 32

int sys_send(int fd, const char *data, int length, const int *fds, int n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * MAX_FDS)];
	} control;
	struct iovec part = { (void *)(uintptr_t)data, (size_t)length };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	long sent;

	if (n_fds > MAX_FDS)
		return -E2BIG;
	if (n_fds > 0) {
		struct cmsghdr *head;

		memset(&control, 0, sizeof control);
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n_fds);
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n_fds);
		memcpy(CMSG_DATA(head), fds, sizeof(int) * (size_t)n_fds);
	}
	do
		sent = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return result(sent);
}

int sys_receive(int fd, char *data, int capacity, int *fds, int capacity_fds, int *n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * MAX_FDS)];
	} control;
	struct iovec part = { data, (size_t)capacity };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space,
				  .msg_controllen = sizeof control.space };
	long length;

	*n_fds = 0;
	do
		length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -errno;
	for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
		size_t count;

		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int got;

			memcpy(&got, CMSG_DATA(head) + i * sizeof(int), sizeof got);
			if (*n_fds < capacity_fds)
				fds[(*n_fds)++] = got;
			else
				close(got);
		}
	}
	return (int)length;
}

static int unix_address(const char *path, struct sockaddr_un *address)
{
	size_t length = strlen(path);

	if (length >= sizeof address->sun_path)
		return -ENAMETOOLONG;
	memset(address, 0, sizeof *address);
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, length);
	return 0;
}

int sys_unix_listen(const char *path, int backlog)
{
	struct sockaddr_un address;
	int error = unix_address(path, &address);
	int fd;

	if (error < 0)
		return error;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Before it has a name: whatever the caller's umask is, nobody else may connect (unix(7): that takes write permission). */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, backlog) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

/* A listener that accepts nobody has a queue that is full some time: then connect waits, and EAGAIN tells that it did in vain. */
int sys_unix_connect(const char *path, int seqpacket, int timeout_ms)
{
	struct sockaddr_un address;
	struct timeval timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
	int error = unix_address(path, &address);
	int fd;

	if (error < 0)
		return error;
	fd = socket(AF_UNIX, (seqpacket ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | (timeout_ms ? 0 : SOCK_NONBLOCK), 0);
	if (fd < 0)
		return -errno;
	if (timeout_ms)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	if (timeout_ms) {
		timeout = (struct timeval){ 0, 0 };
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	}
	return fd;
}

int sys_prlimit(int pid, int resource, unsigned long long soft, unsigned long long hard)
{
	uint64_t limit[2] = { soft, hard };

	return result(syscall(SYS_prlimit64, pid, resource, limit, NULL));
}

int sys_poll(int *fds, const short *events, short *revents, int count, int timeout_ms)
{
	struct pollfd polled[MAX_FDS];
	int ready;

	if (count > MAX_FDS)
		return -E2BIG;
	for (int i = 0; i < count; i++)
		polled[i] = (struct pollfd){ .fd = fds[i], .events = events[i] };
	ready = result(poll(polled, (nfds_t)count, timeout_ms));
	for (int i = 0; i < count; i++)
		revents[i] = polled[i].revents;
	return ready;
}

int sys_pidfd_send_signal(int pidfd, int signal)
{
	return result(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

int sys_pidfd_open(int pid, int flags)
{
	return result(syscall(SYS_pidfd_open, pid, flags));
}

int sys_subreaper(int on)
{
	return result(prctl(PR_SET_CHILD_SUBREAPER, (unsigned long)on, 0, 0, 0));
}

int sys_is_subreaper(void)
{
	int on = 0;

	return prctl(PR_GET_CHILD_SUBREAPER, (unsigned long)&on, 0, 0, 0) < 0 ? -errno : on;
}

int sys_renameat2(int olddir, const char *old, int newdir, const char *name, unsigned flags)
{
	return result(syscall(SYS_renameat2, olddir, old, newdir, name, flags));
}

/* Block every signal in this thread, and give a descriptor that reads them; *old_mask is what was blocked before. */
int sys_signals_open(unsigned long long *old_mask)
{
	sigset_t all, old;
	int fd;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	memcpy(old_mask, &old, sizeof *old_mask);
	fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) {
		fd = -errno;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	return fd;
}

int sys_signals_close(int fd, unsigned long long old_mask)
{
	sigset_t old;

	close(fd);
	sigemptyset(&old);
	memcpy(&old, &old_mask, sizeof old_mask);
	return -pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* The number of a pending signal in *signal: 1; none: 0. */
int sys_signals_read(int fd, int *signal)
{
	struct signalfd_siginfo info;
	ssize_t length = read(fd, &info, sizeof info);

	if (length < 0)
		return errno == EAGAIN ? 0 : -errno;
	*signal = (int)info.ssi_signo;
	return 1;
}

/* Detach the top mount at that path, a link not followed, with all that is on it. */
int sys_unmount(const char *path)
{
	return result(syscall(SYS_umount2, path, 2 | 8 /* MNT_DETACH | UMOUNT_NOFOLLOW */));
}

int sys_fsopen(const char *kind)
{
	return result(syscall(SYS_fsopen, kind, 1 /* FSOPEN_CLOEXEC */));
}

int sys_fsconfig(int fd, unsigned command, const char *key, const char *value)
{
	return result(syscall(SYS_fsconfig, fd, command, key, value, 0));
}

int sys_fsmount(int fd, unsigned attributes)
{
	return result(syscall(SYS_fsmount, fd, 1 /* FSMOUNT_CLOEXEC */, attributes));
}

/* Attach a tree that is attached nowhere. */
int sys_move_mount(int fd, const char *target)
{
	return result(syscall(SYS_move_mount, fd, "", AT_FDCWD, target, 4 /* MOVE_MOUNT_F_EMPTY_PATH */));
}

int sys_mount(const char *source, const char *target, const char *kind, unsigned long flags, const char *options)
{
	return result(mount(source, target, kind, flags, options));
}
