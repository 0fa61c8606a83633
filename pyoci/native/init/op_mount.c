/* Mounts, by the mount API and by descriptor (fsopen(2), open_tree(2), move_mount(2), mount_setattr(2)). */
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>

#include "init.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

enum { MS_REC_ = 0x4000, MS_SHARED_ = 1 << 20 };

int clone_tree(struct machine *m, int fd, const char *path, bool recursive)
{
	unsigned flags = OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? AT_RECURSIVE : 0u) | (*path ? 0u : (unsigned)AT_EMPTY_PATH);
	long tree = CALL3(open_tree, fd, path, flags);

	return tree < 0 ? fail(m, STEP_OPEN_TREE, tree, *path ? path : NULL) : (int)tree;
}

int attach(struct machine *m, int tree, int target, const char *text)
{
	long error = CALL5(move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);

	if (!m->parent.holds_target)
		forget_parent(m);
	return error < 0 ? fail(m, STEP_MOVE_MOUNT, error, text) : 0;
}

int set_attributes(struct machine *m, int fd, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive, const char *text)
{
	struct mount_attr attributes = { .attr_set = set, .attr_clr = clear, .propagation = propagation };
	unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u);
	long error;

	if (!set && !clear && !propagation)
		return 0;
	error = CALL5(mount_setattr, fd, "", flags, &attributes, sizeof attributes);
	return error < 0 ? fail(m, STEP_MOUNT_SETATTR, error, text) : 0;
}

static int set_propagation(struct machine *m, int fd, int64_t flags, const char *text)
{
	return set_attributes(m, fd, 0, 0, (uint64_t)flags & ~(uint64_t)MS_REC_, flags & MS_REC_, text);
}

OPERATION(propagate_root)
{
	SCOPED_FD root = (int)CALL4(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

	return root < 0 ? fail(m, STEP_OPEN, root, "/") : set_propagation(m, root, a->flags_, "/");
}

/* pivot_root(2) refuses a new root whose parent mount is shared: find the mount that holds path, and make it private. */
static int unshare_parent(struct machine *m, const char *path)
{
	char walk[PATH_MAX];
	size_t length = strlen(path);

	if (length >= sizeof walk)
		return fail(m, STEP_OPEN, ENAMETOOLONG, path);
	memcpy(walk, path, length + 1);
	for (;;) {
		SCOPED_FD fd = (int)CALL4(openat, AT_FDCWD, *walk ? walk : "/", O_PATH | O_CLOEXEC, 0);
		int error;

		if (fd < 0)
			return fail(m, STEP_OPEN, fd, path);
		/* EINVAL: not the root of a mount. */
		error = set_attributes(m, fd, 0, 0, 1 << 18 /* MS_PRIVATE */, false, path);
		if (!error || m->failure.error != EINVAL || !length)
			return error;
		while (length && walk[length - 1] != '/')
			length--;
		while (length && walk[length - 1] == '/')
			length--;
		walk[length] = 0;
	}
}

/*
 * Without a mount namespace the container's mounts are the host's: they all lie on this one, private so that none spreads,
 * and the runtime takes it away by its id, which is written down before it is attached. "mount\tID\0\n"
 */
static int note_mount(struct machine *m, int tree)
{
	char line[40];
	struct statx facts;
	char *to = put_text(line, line + sizeof line, "mount\t");
	long error = CALL5(statx, tree, "", AT_EMPTY_PATH, STATX_MNT_ID, &facts);

	if (error < 0)
		return fail(m, STEP_FSTAT, error, NULL);
	to = put_number(to, facts.stx_mnt_id);
	*to++ = 0;
	*to++ = '\n';
	error = CALL3(write, m->slots[SLOT_JOURNAL], line, (size_t)(to - line));
	return error < 0 ? fail(m, STEP_WRITE, error, NULL) : set_attributes(m, tree, 0, 0, 1 << 18 /* MS_PRIVATE */, true, NULL);
}

enum rootfs_mount { ROOTFS_AS_IT_IS, ROOTFS_BOUND, ROOTFS_BELOW_SHARED, ROOTFS_ON_HOST };

OPERATION(open_rootfs)
{
	SCOPED_FD place = -1;

	m->null_device = (int)CALL4(openat, AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC, 0);
	if (m->null_device < 0 || !is_device(m->null_device, S_IFCHR, 1, 3))
		return fail(m, STEP_VERIFY_DEVICE, m->null_device < 0 ? m->null_device : 0, "/dev/null");
	place = (int)CALL4(openat, AT_FDCWD, a->path_, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (place < 0)
		return fail(m, STEP_OPEN, place, a->path_);
	if (a->bind_ == ROOTFS_AS_IT_IS) {
		m->root = place;
		place = -1;
		return 0;
	}
	m->root = clone_tree(m, AT_FDCWD, a->path_, true);
	if (m->root < 0)
		return -1;
	/* Nor one that is shared itself, as the clone of a shared mount is; the root is shared once it is the root. */
	if (a->bind_ == ROOTFS_BELOW_SHARED &&
	    (unshare_parent(m, a->path_) < 0 || set_attributes(m, m->root, 0, 0, 1 << 18 /* MS_PRIVATE */, false, a->path_) < 0))
		return -1;
	if (a->bind_ == ROOTFS_ON_HOST && note_mount(m, m->root) < 0)
		return -1;
	return attach(m, m->root, place, a->path_);
}

/* Put the kernel's own words about a refused option, "e tmpfs: ...", into the scratch memory. */
static const char *context_log(struct machine *m, int context)
{
	long length = CALL3(read, context, m->scratch, 400);

	if (length <= 2)
		return NULL;
	m->scratch[m->scratch[length - 1] == '\n' ? length - 1 : length] = 0;
	return m->scratch + 2;
}

static int configure(struct machine *m, int context, const char *option)
{
	char key[256];
	size_t length = 0;
	long error;

	while (option[length] && option[length] != '=')
		length++;
	if (length >= sizeof key)
		return fail(m, STEP_FSCONFIG, ENAMETOOLONG, option);
	memcpy(key, option, length);
	key[length] = 0;
	if (option[length])
		error = CALL5(fsconfig, context, FSCONFIG_SET_STRING, key, option + length + 1, 0);
	else
		error = CALL5(fsconfig, context, FSCONFIG_SET_FLAG, key, NULL, 0);
	return error < 0 ? fail(m, STEP_FSCONFIG, error, option) : 0;
}

static int configure_all(struct machine *m, int context, struct list options)
{
	const char *option = list_first(&m->plan, options);

	for (uint32_t i = 0; i < options.count; i++, option = list_next(option))
		if (configure(m, context, option) < 0)
			return -1;
	return 0;
}

static bool has_option(struct machine *m, struct list options, const char *start)
{
	const char *option = list_first(&m->plan, options);

	for (uint32_t i = 0; i < options.count; i++, option = list_next(option))
		if (text_starts(option, start))
			return true;
	return false;
}

/*
 * tmpfs takes the mode of the directory that it covers, unless a mode was asked for. Over a mount point that was made for it, it
 * keeps its own, 1777: users of docker's --tmpfs write there who are not root.
 */
static int inherit_mode(struct machine *m, int context, int target)
{
	char octal[8];
	struct statx facts;
	char *to = octal + sizeof octal;
	unsigned mode;
	long error = stat_fd(target, &facts);

	if (error < 0)
		return fail(m, STEP_FSTAT, error, NULL);
	mode = facts.stx_mode & 07777u;
	*--to = 0;
	do
		*--to = (char)('0' + mode % 8);
	while (mode /= 8);
	error = CALL5(fsconfig, context, FSCONFIG_SET_STRING, "mode", to, 0);
	return error < 0 ? fail(m, STEP_FSCONFIG, error, "mode") : 0;
}

static int new_mount(struct machine *m, const char *fstype, const char *source, struct list flags, struct list data,
		     uint64_t attributes, int inherit_from)
{
	SCOPED_FD context = (int)CALL2(fsopen, fstype, FSOPEN_CLOEXEC);
	long error, mount;

	if (context < 0)
		return fail(m, STEP_FSOPEN, context, fstype);
	if (source && *source) {
		error = CALL5(fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0);
		if (error < 0)
			return fail(m, STEP_FSCONFIG, error, source);
	}
	if (configure_all(m, context, flags) < 0 || configure_all(m, context, data) < 0)
		goto explain;
	if (inherit_from >= 0 && !has_option(m, data, "mode=") && inherit_mode(m, context, inherit_from) < 0)
		return -1;
	error = CALL5(fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (error < 0) {
		fail(m, STEP_FSCONFIG, error, fstype);
		goto explain;
	}
	mount = CALL3(fsmount, context, FSMOUNT_CLOEXEC, attributes);
	return mount < 0 ? fail(m, STEP_FSMOUNT, mount, fstype) : (int)mount;
explain:
	if (grab(m, 0)) {
		const char *words = context_log(m, context);

		if (words)
			m->failure.text = words;
	}
	return -1;
}

/* A kernel file system goes only onto a real directory: a link there would let the image choose what is covered. */
static bool is_kernel_filesystem(const char *fstype)
{
	return text_equal(fstype, "proc") || text_equal(fstype, "sysfs");
}

/* Something over a file of procfs could hide what init and the runtime verify there. */
int refuse_procfs(struct machine *m, int target, const char *text)
{
	return filesystem_type(target) == PROC_SUPER_MAGIC ? fail(m, STEP_VERIFY_PROCFS, EPERM, text) : 0;
}

/* Whether the target was made a moment ago as a directory of a tmpfs of ours: then that needs no look. */
static bool is_new_in_tmpfs(const struct machine *m)
{
	return m->parent.holds_target && m->parent.is_fresh;
}

OPERATION(mount)
{
	bool strict = is_kernel_filesystem(a->fstype_);
	uint64_t resolve = strict ? RESOLVE_NO_SYMLINKS : 0;
	bool is_new;
	SCOPED_FD target = open_or_make(m, a->target_, TARGET_DIRECTORY, resolve, &is_new);
	SCOPED_FD tree = -1;

	if (target == -ELOOP && strict)
		return fail(m, STEP_VERIFY_DIRECTORY, ELOOP, a->target_);
	if (target < 0)
		return fail(m, STEP_OPENAT2, target, a->target_);
	if (!is_new_in_tmpfs(m) && !is_directory(target))
		return fail(m, STEP_VERIFY_DIRECTORY, ENOTDIR, a->target_);
	if (!is_new_in_tmpfs(m) && !text_equal(a->fstype_, "proc") && refuse_procfs(m, target, a->target_) < 0)
		return -1;
	tree = new_mount(m, a->fstype_, a->source_, a->flags_, a->data_, (uint64_t)a->attr_set_, a->mode_ && !is_new ? target : -1);
	if (tree < 0)
		return -1;
	if (text_equal(a->fstype_, "tmpfs"))
		remember_fresh(m, tree);
	if (a->copy_up_ && !is_new && copy_up(m, target, tree) < 0)
		return -1;
	return attach(m, tree, target, a->target_);
}

/* must_proc: 0 the target must not lie on a procfs, 1 the source must be a procfs, 2 a listed file of procfs. */
static int check_procfs(struct machine *m, int64_t must_proc, int tree, int target, const char *text)
{
	if (must_proc == 0 && refuse_procfs(m, target, text) < 0)
		return -1;
	if (must_proc == 1 && filesystem_type(tree) != PROC_SUPER_MAGIC)
		return fail(m, STEP_VERIFY_PROCFS, EPERM, text);
	return 0;
}

OPERATION(bind)
{
	SCOPED_FD tree = -1;
	SCOPED_FD target = -1;
	enum target_kind kind;

	if (a->slot_ >= 0) {
		tree = clone_tree(m, m->slots[a->slot_], "", a->recursive_);
		close_fd(m->slots[a->slot_]);
		m->slots[a->slot_] = -1;
	} else
		tree = clone_tree(m, AT_FDCWD, a->source_, a->recursive_);
	if (tree < 0)
		return -1;
	if (set_attributes(m, tree, (uint64_t)a->attr_set_, (uint64_t)a->attr_clr_, 0, false, a->source_) < 0 ||
	    set_attributes(m, tree, (uint64_t)a->rattr_set_, (uint64_t)a->rattr_clr_, 0, true, a->source_) < 0)
		return -1;
	kind = is_directory(tree) ? TARGET_DIRECTORY : TARGET_FILE;
	target = open_or_make(m, a->target_, kind, 0, NULL);
	if (target < 0)
		return fail(m, STEP_OPENAT2, target, a->target_);
	if (kind == TARGET_DIRECTORY && !a->must_proc_ && is_new_in_tmpfs(m))
		return attach(m, tree, target, a->target_);
	/* move_mount says EINVAL for a file on a directory; callers look for the word that fits. */
	if (is_directory(target) != (kind == TARGET_DIRECTORY))
		return fail(m, STEP_VERIFY_DIRECTORY, ENOTDIR, a->target_);
	if (check_procfs(m, a->must_proc_, tree, target, a->target_) < 0)
		return -1;
	return attach(m, tree, target, a->target_);
}

static int open_target(struct machine *m, const char *path)
{
	int fd = open_in_root(m, path, O_PATH, 0);

	return fd < 0 ? fail(m, STEP_OPENAT2, fd, path) : fd;
}

OPERATION(remount)
{
	SCOPED_FD target = open_target(m, a->target_);

	if (target < 0)
		return -1;
	if (set_attributes(m, target, (uint64_t)a->attr_set_, (uint64_t)a->attr_clr_, 0, false, a->target_) < 0)
		return -1;
	return set_attributes(m, target, (uint64_t)a->rattr_set_, (uint64_t)a->rattr_clr_, 0, true, a->target_);
}

OPERATION(propagate)
{
	SCOPED_FD target = open_target(m, a->target_);

	return target < 0 ? -1 : set_propagation(m, target, a->flags_, a->target_);
}

/* cgroup2 of the container's own cgroup namespace; where the kernel refuses that, its own cgroup, bound. */
OPERATION(cgroup_view)
{
	SCOPED_FD target = open_or_make(m, a->target_, TARGET_DIRECTORY, 0, NULL);
	SCOPED_FD tree = -1;
	struct list none = { 0, 0 };

	if (target < 0)
		return fail(m, STEP_OPENAT2, target, a->target_);
	if (refuse_procfs(m, target, a->target_) < 0)
		return -1;
	tree = new_mount(m, "cgroup2", a->name_, none, none, (uint64_t)a->attr_set_, -1);
	if (tree < 0 && m->failure.error != EPERM && m->failure.error != EBUSY)
		return -1;
	if (tree < 0) {
		tree = clone_tree(m, AT_FDCWD, a->subdirectory_, true);
		if (tree < 0 || set_attributes(m, tree, (uint64_t)a->attr_set_, 0, 0, true, a->subdirectory_) < 0)
			return -1;
	}
	return attach(m, tree, target, a->target_);
}

OPERATION0(seal_root)
{
	return set_attributes(m, m->root, MOUNT_ATTR_RDONLY, 0, 0, false, "/");
}

OPERATION(seal_mount)
{
	SCOPED_FD target = open_target(m, a->target_);

	return target < 0 ? -1 : set_attributes(m, target, MOUNT_ATTR_RDONLY, 0, 0, false, a->target_);
}

OPERATION(protect)
{
	SCOPED_FD target = open_in_root(m, a->path_, O_PATH, 0);
	SCOPED_FD tree = -1;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return fail(m, STEP_OPENAT2, target, a->path_);
	tree = clone_tree(m, target, "", true);
	if (tree < 0 || set_attributes(m, tree, MOUNT_ATTR_RDONLY, 0, 0, true, a->path_) < 0)
		return -1;
	return attach(m, tree, target, a->path_);
}

/*
 * A directory is covered by an empty, read-only tmpfs, one for all: the first is attached and the next are clones of it,
 * since only a tree that is attached can be cloned everywhere (a detached one since Linux 6.15).
 */
static int empty_directory(struct machine *m)
{
	struct list none = { 0, 0 };
	int tree;

	if (m->empty >= 0)
		return clone_tree(m, m->empty, "", false);
	tree = new_mount(m, "tmpfs", "tmpfs", none, none, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, -1);
	if (tree >= 0)
		m->empty = (int)CALL3(fcntl, tree, F_DUPFD_CLOEXEC, 3);
	return tree;
}

/*
 * The descriptor was verified before anything of the image could stand in its place. It is the host's own device: read-only, so that
 * nobody inside changes its mode or owner (it can be written to all the same), and private, so that none mounts something on it.
 */
static int null_device(struct machine *m)
{
	int tree = clone_tree(m, m->null_device, "", false);

	if (tree < 0 || !set_attributes(m, tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, 1 << 18 /* MS_PRIVATE */, false,
					 "/dev/null"))
		return tree;
	close_fd(tree);
	return -1;
}

OPERATION(hide)
{
	SCOPED_FD target = open_in_root(m, a->path_, O_PATH, 0);
	SCOPED_FD tree = -1;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return fail(m, STEP_OPENAT2, target, a->path_);
	tree = is_directory(target) ? empty_directory(m) : null_device(m);
	return tree < 0 ? -1 : attach(m, tree, target, a->path_);
}

OPERATION0(pivot)
{
	SCOPED_FD old = (int)CALL4(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	long error;

	if (old < 0)
		return fail(m, STEP_OPEN, old, "/");
	error = CALL1(fchdir, m->root);
	if (error < 0)
		return fail(m, STEP_FCHDIR, error, NULL);
	error = CALL2(pivot_root, ".", ".");
	if (error < 0)
		return fail(m, STEP_PIVOT_ROOT, error, NULL);
	/* The old root lies on the new one now; as a slave it can't carry its unmounting back to the host. */
	error = CALL1(fchdir, old);
	if (error < 0)
		return fail(m, STEP_FCHDIR, error, NULL);
	if (set_attributes(m, old, 0, 0, 1 << 19 /* MS_SLAVE */, true, NULL) < 0)
		return -1;
	error = CALL2(umount2, ".", 2 /* MNT_DETACH */);
	if (error < 0)
		return fail(m, STEP_UMOUNT2, error, NULL);
	error = CALL1(chdir, "/");
	return error < 0 ? fail(m, STEP_CHDIR, error, "/") : 0;
}

static int chroot_here(struct machine *m)
{
	long error = CALL1(fchdir, m->root);

	if (error < 0)
		return fail(m, STEP_FCHDIR, error, NULL);
	error = CALL1(chroot, ".");
	if (error < 0)
		return fail(m, STEP_CHROOT, error, NULL);
	error = CALL1(chdir, "/");
	return error < 0 ? fail(m, STEP_CHDIR, error, "/") : 0;
}

/*
 * Moving a root leaves the host's mounts below it. A procfs or sysfs among them, nothing of it hidden, would let a user
 * namespace in the container mount a fresh one (the kernel asks for one that is fully visible): off with it, or cover it.
 */
static int take_away(struct machine *m, const char *path, long kind)
{
	struct list none = { 0, 0 };
	SCOPED_FD place = (int)CALL4(openat, AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	SCOPED_FD tree = -1;

	if (place < 0 || filesystem_type(place) != kind)
		return 0;
	if (CALL2(umount2, path, 2 /* MNT_DETACH */) >= 0)
		return 0;
	tree = new_mount(m, "tmpfs", "tmpfs", none, none, MOUNT_ATTR_RDONLY, -1);
	return tree < 0 ? -1 : attach(m, tree, place, path);
}

OPERATION0(move_root)
{
	long error;

	if (take_away(m, "/proc", PROC_SUPER_MAGIC) < 0 || take_away(m, "/sys", SYSFS_MAGIC) < 0)
		return -1;
	error = CALL1(fchdir, m->root);
	if (error < 0)
		return fail(m, STEP_FCHDIR, error, NULL);
	error = CALL5(mount, ".", "/", NULL, 8192 /* MS_MOVE */, NULL);
	return error < 0 ? fail(m, STEP_MOUNT, error, "/") : chroot_here(m);
}

OPERATION0(change_root)
{
	return chroot_here(m);
}
