/* Device nodes, links and the terminal below the rootfs, each by the descriptor of its directory. */
#include <linux/magic.h>
#include <linux/openat2.h>

#include "init.h"

static uint32_t device_number(int64_t major, int64_t minor)
{
	uint32_t low = (uint32_t)minor;

	return (low & 0xffu) | (uint32_t)major << 8 | (low & ~0xffu) << 12;
}

static int set_owner_and_mode(struct machine *m, int fd, const struct op_make_device *a)
{
	char link[40];
	char *to = put_text(link, link + sizeof link, "/proc/thread-self/fd/");
	long error = CALL5(fchownat, fd, "", (uint32_t)a->uid_, (uint32_t)a->gid_, AT_EMPTY_PATH);

	if (error < 0)
		return fail(m, STEP_FCHOWN, error, a->path_);
	/* The umask is 0 while init works, so that only a node that was there already has another mode. */
	put_number(to, (uint64_t)fd);
	error = CALL3(fchmodat, AT_FDCWD, link, (uint32_t)a->mode_);
	return error < 0 ? fail(m, STEP_FCHMOD, error, a->path_) : 0;
}

OPERATION(make_device)
{
	const char *name;
	struct statx facts;
	int parent = open_parent(m, a->path_, &name);
	SCOPED_FD node = -1;
	long error = -EEXIST;

	if (parent < 0)
		return fail(m, STEP_OPENAT2, parent, a->path_);
	if (m->parent.is_fresh || is_missing(parent, name)) {
		/* What lies in a tmpfs of ours goes with it. */
		error = m->parent.is_fresh ? 0 : note_made(m, parent, a->path_, (size_t)(name - a->path_), name, 'n');
		if (error < 0)
			return fail(m, STEP_WRITE, error, a->path_);
		error = CALL4(mknodat, parent, name, (uint32_t)(a->type_ | a->mode_), device_number(a->major_, a->minor_));
		if (error < 0 && error != -EEXIST)
			return fail(m, STEP_MKNODAT, error, a->path_);
	}
	node = (int)CALL4(openat, parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	if (node < 0)
		return fail(m, STEP_OPEN, node, a->path_);
	if (stat_fd(node, &facts) < 0 || !are_of_device(&facts, (uint32_t)a->type_, (uint32_t)a->major_, (uint32_t)a->minor_))
		return fail(m, STEP_VERIFY_DEVICE, error == -EEXIST ? EEXIST : 0, a->path_);
	if (facts.stx_uid == (uint32_t)a->uid_ && facts.stx_gid == (uint32_t)a->gid_ && (facts.stx_mode & 07777u) == (uint32_t)a->mode_)
		return 0;
	return set_owner_and_mode(m, node, a);
}

OPERATION(bind_device)
{
	SCOPED_FD tree = -1;
	SCOPED_FD target = -1;

	if (a->slot_ >= 0) {
		tree = m->slots[a->slot_];
		m->slots[a->slot_] = -1;
	} else
		tree = clone_tree(m, AT_FDCWD, a->source_, false);
	if (tree < 0)
		return -1;
	if (!is_device(tree, (uint32_t)a->type_, (uint32_t)a->major_, (uint32_t)a->minor_))
		return fail(m, STEP_VERIFY_DEVICE, 0, a->source_);
	target = open_or_make(m, a->path_, TARGET_FILE, 0, NULL);
	if (target < 0)
		return fail(m, STEP_OPENAT2, target, a->path_);
	return refuse_procfs(m, target, a->path_) < 0 ? -1 : attach(m, tree, target, a->path_);
}

OPERATION(make_link)
{
	const char *name;
	int parent = open_parent(m, a->path_, &name);
	long error;

	if (parent < 0)
		return fail(m, STEP_OPENAT2, parent, a->path_);
	if (!m->parent.is_fresh && is_missing(parent, name)) {
		error = note_made(m, parent, a->path_, (size_t)(name - a->path_), name, 'l');
		if (error < 0)
			return fail(m, STEP_WRITE, error, a->path_);
	}
	error = CALL3(symlinkat, a->content_, parent, name);
	if (error == -EEXIST && a->replace_) {
		error = CALL3(unlinkat, parent, name, 0);
		if (error < 0)
			return fail(m, STEP_UNLINKAT, error, a->path_);
		error = CALL3(symlinkat, a->content_, parent, name);
	}
	return error < 0 && error != -EEXIST ? fail(m, STEP_SYMLINKAT, error, a->path_) : 0;
}

enum { SET_LOCK = 0x40045431, GET_PEER = 0x5441, SET_CONTROLLING = 0x540E, SET_SIZE = 0x5414, PTMX_INODE = 2 };

struct window_size {
	uint16_t rows, columns, x, y;
};

/* The multiplexer must be a devpts's own: a file of the image in its place could be anything. */
static int open_master(struct machine *m)
{
	struct statx facts;
	int master = open_in_root(m, "/dev/pts/ptmx", O_RDWR | O_NOCTTY, 0);

	if (master < 0)
		return fail(m, STEP_OPENAT2, master, "/dev/pts/ptmx");
	if (filesystem_type(master) != DEVPTS_SUPER_MAGIC || !is_device(master, S_IFCHR, 5, 2) || stat_fd(master, &facts) < 0 ||
	    facts.stx_ino != PTMX_INODE) {
		close_fd(master);
		return fail(m, STEP_VERIFY_TERMINAL, 0, "/dev/pts/ptmx");
	}
	return master;
}

static int open_peer(struct machine *m, int master)
{
	int unlocked = 0;
	long peer, error = CALL3(ioctl, master, SET_LOCK, &unlocked);

	if (error < 0)
		return fail(m, STEP_IOCTL, error, "TIOCSPTLCK");
	peer = CALL3(ioctl, master, GET_PEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return peer < 0 ? fail(m, STEP_IOCTL, peer, "TIOCGPTPEER") : (int)peer;
}

static int cover_console(struct machine *m, int peer)
{
	SCOPED_FD target = open_or_make(m, "/dev/console", TARGET_FILE, 0, NULL);
	SCOPED_FD tree = -1;

	if (target < 0)
		return fail(m, STEP_OPENAT2, target, "/dev/console");
	if (refuse_procfs(m, target, "/dev/console") < 0)
		return -1;
	tree = clone_tree(m, peer, "", false);
	return tree < 0 ? -1 : attach(m, tree, target, "/dev/console");
}

static int take_terminal(struct machine *m, int peer)
{
	long error = CALL3(ioctl, peer, SET_CONTROLLING, 0);

	if (error < 0)
		return fail(m, STEP_IOCTL, error, "TIOCSCTTY");
	for (int fd = 0; fd < 3; fd++) {
		error = CALL3(dup3, peer, fd, 0);
		if (error < 0)
			return fail(m, STEP_DUP, error, NULL);
	}
	return 0;
}

OPERATION(open_console)
{
	struct window_size size = { (uint16_t)a->height_, (uint16_t)a->width_, 0, 0 };
	SCOPED_FD peer = -1;
	int master = open_master(m);

	if (master < 0)
		return -1;
	m->slots[a->slot_] = master;
	m->up |= 1u << a->slot_;
	peer = open_peer(m, master);
	if (peer < 0)
		return -1;
	if (a->width_ && a->height_)
		CALL3(ioctl, master, SET_SIZE, &size);
	CALL3(fchown, peer, (uint32_t)a->uid_, (uint32_t)-1);
	if (a->mount_ && cover_console(m, peer) < 0)
		return -1;
	return take_terminal(m, peer);
}
