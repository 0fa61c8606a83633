/* Namespaces and what belongs to them: joining, ids, names, the loopback device, kernel parameters. */
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>

#include "init.h"

OPERATION(wait_for)
{
	uint32_t index;

	while (m->done <= (uint32_t)a->index_)
		if (receive_until(m, MESSAGE_DONE, &index) < 0)
			return -1;
	return 0;
}

static int clear_inheritable(struct machine *m)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	long error = CALL2(capget, &header, data);

	if (error < 0)
		return fail(m, STEP_CAPSET, error, NULL);
	data[0].inheritable = data[1].inheritable = 0;
	error = CALL2(capset, &header, data);
	return error < 0 ? fail(m, STEP_CAPSET, error, NULL) : 0;
}

OPERATION0(become_root)
{
	long error = CALL3(setresgid, 0, 0, 0);

	if (error < 0)
		return fail(m, STEP_SETRESGID, error, NULL);
	error = CALL3(setresuid, 0, 0, 0);
	if (error < 0)
		return fail(m, STEP_SETRESUID, error, NULL);
	error = CALL5(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (error < 0)
		return fail(m, STEP_PRCTL, error, NULL);
	CALL5(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	return clear_inheritable(m);
}

/*
 * By itself, one thread: a process that another moves, or that is moved as a whole, waits for the kernel's RCU first, ten milliseconds on
 * a host that is at rest. The runtime opened the files, and the kernel asks for the opener's rights.
 */
OPERATION(enter_cgroups)
{
	const char *directory = list_first(&m->plan, a->directories_);

	for (uint32_t i = 0; i < a->directories_.count; i++, directory = list_next(directory)) {
		int64_t slot = a->slot_ + i;
		long written;

		if (slot < SLOT_FREE || slot >= MAX_SLOTS)
			return fail(m, STEP_PLAN, EBADF, NULL);
		written = CALL3(write, m->slots[slot], "0", 1);
		close_fd(m->slots[slot]);
		m->slots[slot] = -1;
		if (written < 0 && i < a->required_)
			return fail(m, STEP_WRITE, written, directory);
	}
	return 0;
}

OPERATION(join)
{
	long error;

	/* The caller's supplementary groups would stay where the user namespace denies setgroups(2); here init may still drop them. */
	if (a->type_ == CLONE_NEWUSER)
		CALL2(setgroups, 0, NULL);
	error = CALL2(setns, m->slots[a->slot_], (int)a->type_);

	close_fd(m->slots[a->slot_]);
	m->slots[a->slot_] = -1;
	return error < 0 ? fail(m, STEP_SETNS, error, NULL) : 0;
}

OPERATION(unshare)
{
	long error = CALL1(unshare, a->flags_);

	/* The maps come next; become_root closes it again. */
	if (m->open && a->flags_ & CLONE_NEWUSER)
		CALL5(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);

	return error < 0 ? fail(m, STEP_UNSHARE, error, NULL) : 0;
}

/*
 * A pid or user namespace that was just joined or made holds for children only: go on as one. CLONE_PARENT makes it the
 * runtime's child, and its pidfd goes up in the last message of this process, whose item is its pid as the runtime sees it.
 */
OPERATION0(clone_again)
{
	int pidfd = -1, told[2];
	long pid, error = CALL2(pipe2, told, O_CLOEXEC);

	if (error < 0)
		return fail(m, STEP_PIPE, error, NULL);
	pid = CALL5(clone, CLONE_PARENT | CLONE_PIDFD, 0, &pidfd, 0, 0);
	if (pid < 0)
		return fail(m, STEP_CLONE, pid, NULL);
	if (pid == 0) {
		char end;

		/* Not before the runtime was told: it would put the process that was, and not this one, into the cgroups. */
		close_fd(told[1]);
		CALL3(read, told[0], &end, 1);
		close_fd(told[0]);
		return 0;
	}
	m->slots[SLOT_PLAN] = pidfd;
	m->up = 1u << SLOT_PLAN;
	m->failure = (struct failure){ .item = (uint32_t)pid };
	report_child(m);
	exit_now(0);
}

OPERATION0(new_session)
{
	long error = CALL0(setsid);

	/* EPERM: it leads its group already, since it is the first process of its pid namespace. */
	return error < 0 && error != -EPERM ? fail(m, STEP_SETSID, error, NULL) : 0;
}

OPERATION(keyring)
{
	long error = CALL2(keyctl, KEYCTL_JOIN_SESSION_KEYRING, a->name_);

	return error < 0 && error != -ENOSYS ? fail(m, STEP_KEYCTL, error, a->name_) : 0;
}

struct interface_flags {
	char name[16];
	short flags;
	char rest[22];
};

OPERATION0(loopback_up)
{
	enum { GET_FLAGS = 0x8913, SET_FLAGS = 0x8914, UP = 1 };
	struct interface_flags request = { .name = "lo" };
	SCOPED_FD fd = (int)CALL3(socket, 2 /* AF_INET */, 2 /* SOCK_DGRAM */ | O_CLOEXEC, 0);
	long error;

	if (fd < 0)
		return fail(m, STEP_SOCKET, fd, "lo");
	error = CALL3(ioctl, fd, GET_FLAGS, &request);
	if (error < 0)
		return fail(m, STEP_IOCTL, error, "lo");
	request.flags = (short)(request.flags | UP);
	error = CALL3(ioctl, fd, SET_FLAGS, &request);
	return error < 0 ? fail(m, STEP_IOCTL, error, "lo") : 0;
}

OPERATION(hostname)
{
	long error = CALL2(sethostname, a->name_, strlen(a->name_));

	return error < 0 ? fail(m, STEP_SETHOSTNAME, error, a->name_) : 0;
}

OPERATION(domainname)
{
	long error = CALL2(setdomainname, a->name_, strlen(a->name_));

	return error < 0 ? fail(m, STEP_SETDOMAINNAME, error, a->name_) : 0;
}

/*
 * A procfs of our own, attached nowhere: nothing in the image can lie over a file of it. Where a user namespace may not
 * mount one, a clone of the one that the runtime sees, checked to be a procfs.
 */
static int private_procfs(struct machine *m)
{
	long context = CALL2(fsopen, "proc", FSOPEN_CLOEXEC);
	long mount = context;

	if (context >= 0) {
		mount = CALL5(fsconfig, (int)context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
		if (mount >= 0)
			mount = CALL3(fsmount, (int)context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
		close_fd((int)context);
	}
	if (mount < 0)
		mount = CALL3(open_tree, AT_FDCWD, "/proc", OPEN_TREE_CLONE | O_CLOEXEC);
	if (mount < 0)
		return fail(m, STEP_FSMOUNT, mount, "proc");
	if (filesystem_type((int)mount) != PROC_SUPER_MAGIC) {
		close_fd((int)mount);
		return fail(m, STEP_VERIFY_PROCFS, 0, "/proc");
	}
	return (int)mount;
}

OPERATION(sysctl)
{
	struct open_how how = { .flags = O_WRONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
	SCOPED_FD proc = private_procfs(m);
	SCOPED_FD file = -1;
	long written;

	if (proc < 0)
		return -1;
	file = (int)CALL4(openat2, proc, a->path_, &how, sizeof how);
	if (file < 0)
		return fail(m, STEP_OPEN, file, a->path_);
	written = CALL3(write, file, a->value_, strlen(a->value_));
	return written < 0 ? fail(m, STEP_WRITE, written, a->path_) : 0;
}
