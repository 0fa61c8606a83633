/*
 * Paths below the rootfs. The kernel resolves each with the rootfs as root (openat2(2), RESOLVE_IN_ROOT), so that no
 * symbolic link and no ".." leads out, whoever exchanges what meanwhile. Nothing here joins a path to the rootfs's.
 */
#include <linux/openat2.h>

#include "init.h"

enum { LINKS_MAX = 40 };

long filesystem_type(int fd)
{
	/* struct statfs begins with its type, a long, on both architectures; it is 120 bytes. */
	long facts[32];
	long error = CALL2(fstatfs, fd, facts);

	return error < 0 ? error : facts[0];
}

int stat_fd(int fd, struct statx *facts)
{
	return (int)CALL5(statx, fd, "", AT_EMPTY_PATH | AT_STATX_SYNC_AS_STAT, STATX_BASIC_STATS, facts);
}

bool are_of_device(const struct statx *facts, uint32_t type, uint32_t major, uint32_t minor)
{
	if ((facts->stx_mode & S_IFMT) != type)
		return false;
	return type == S_IFIFO || (facts->stx_rdev_major == major && facts->stx_rdev_minor == minor);
}

bool is_device(int fd, uint32_t type, uint32_t major, uint32_t minor)
{
	struct statx facts;

	return stat_fd(fd, &facts) == 0 && are_of_device(&facts, type, major, minor);
}

bool is_directory(int fd)
{
	struct statx facts;

	return stat_fd(fd, &facts) == 0 && S_ISDIR(facts.stx_mode);
}

/* The rootfs; before it is opened (an exec), the root that the joined mount namespace gave us. */
static long root_fd(struct machine *m)
{
	if (m->root < 0)
		m->root = (int)CALL4(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	return m->root;
}

int open_in_root(struct machine *m, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = { .flags = (uint64_t)(unsigned)flags | O_CLOEXEC, .resolve = resolve | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	long root = root_fd(m);
	long fd = root;

	if (root < 0)
		return (int)root;
	if (flags & O_CREAT)
		how.mode = 0644;
	if (!*path)
		path = ".";
	/* A rename or a mount anywhere may spoil the walk: EAGAIN asks for another try. */
	for (int tries = 0; tries < 128; tries++) {
		fd = CALL4(openat2, root, path, &how, sizeof how);
		if (fd != -EAGAIN && fd != -EINTR)
			break;
	}
	return (int)fd;
}

/* Whether there is nothing of that name, not even a link. */
bool is_missing(int parent, const char *name)
{
	struct statx facts;

	return CALL5(statx, parent, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &facts) == -ENOENT;
}

/* The mount is of a file system that has begun with it. */
void remember_fresh(struct machine *m, int mount)
{
	struct statx facts;

	if (m->fresh_count < MAX_FRESH && stat_fd(mount, &facts) == 0)
		m->fresh[m->fresh_count++] = (struct device) { facts.stx_dev_major, facts.stx_dev_minor };
}

static bool is_fresh(const struct machine *m, const struct statx *facts)
{
	for (unsigned i = 0; i < m->fresh_count; i++)
		if (m->fresh[i].major == facts->stx_dev_major && m->fresh[i].minor == facts->stx_dev_minor)
			return true;
	return false;
}

/*
 * Write down, before it is done, that `name` will be made in `parent`, which is the directory of `path` up to `length`: the
 * runtime removes it if the container fails to come up. Kinds: d directory, f file, n node, l link.
 * "made\tMAJOR:MINOR\tINODE\tKIND\tDIRECTORY/NAME\0\n"
 */
int note_made(struct machine *m, int parent, const char *path, size_t length, const char *name, char kind)
{
	char line[2 * PATH_MAX + 128];
	const char tabbed_kind[] = { '\t', kind, '\t', 0 };
	const char *end = line + sizeof line;
	struct statx facts;
	char *to = line;
	long written;

	if (m->slots[SLOT_JOURNAL] < 0)
		return 0;
	if (stat_fd(parent, &facts) < 0)
		return -EIO;
	if (is_fresh(m, &facts))
		return 0;
	to = put_text(to, end, "made\t");
	to = put_number(to, facts.stx_dev_major);
	to = put_text(to, end, ":");
	to = put_number(to, facts.stx_dev_minor);
	to = put_text(to, end, "\t");
	to = put_number(to, facts.stx_ino);
	to = put_text(to, end, tabbed_kind);
	for (size_t i = 0; i < length && to + 1 < end; i++)
		*to++ = path[i];
	to = put_text(to, end, "/");
	to = put_text(to, end, name);
	*to++ = 0;
	if (to == end)
		return -ENAMETOOLONG;
	*to++ = '\n';
	written = CALL3(write, m->slots[SLOT_JOURNAL], line, (size_t)(to - line));
	if (written < 0)
		return (int)written;
	return written == to - line ? 0 : -ENOSPC;
}

/* No link is followed, whoever put one there meanwhile. */
static int open_made(int parent, const char *name)
{
	return (int)CALL4(openat, parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
}

static int make_name(struct machine *m, int parent, const char *directory, const char *name, enum target_kind kind)
{
	int error = note_made(m, parent, directory, strlen(directory), name, kind == TARGET_DIRECTORY ? 'd' : 'f');
	long fd;

	if (error < 0)
		return error;
	if (kind == TARGET_DIRECTORY)
		return (int)CALL3(mkdirat, parent, name, 0755);
	fd = CALL4(openat, parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return (int)fd;
	close_fd((int)fd);
	return 0;
}

/* walk := what the dangling link directory/name points at, and the rest of walk behind it. */
static int follow_link(int parent, char *walk, char *slash, char *rest)
{
	char content[PATH_MAX], joined[PATH_MAX];
	const char *end = joined + sizeof joined;
	const char *name = slash ? slash + 1 : walk;
	long length = CALL4(readlinkat, parent, name, content, sizeof content - 1);
	char *to = joined;

	if (length < 0)
		return (int)length;
	content[length] = 0;
	*to = 0;
	if (content[0] != '/' && slash) {
		*slash = 0;
		to = put_text(to, end, walk);
		to = put_text(to, end, "/");
	}
	to = put_text(to, end, content);
	if (rest) {
		to = put_text(to, end, "/");
		to = put_text(to, end, rest);
	}
	if (to + 1 >= end)
		return -ENAMETOOLONG;
	memcpy(walk, joined, strlen(joined) + 1);
	return 0;
}

static size_t directory_length(const char *path)
{
	size_t length = strlen(path);

	while (length && path[length - 1] != '/')
		length--;
	return length;
}

void forget_parent(struct machine *m)
{
	close_fd(m->parent.fd);
	m->parent.fd = -1;
}

static void keep_parent(struct machine *m, int fd, const char *path, size_t length)
{
	struct statx facts;

	forget_parent(m);
	m->parent.fd = fd;
	m->parent.path = path;
	m->parent.length = length;
	m->parent.is_fresh = fd >= 0 && stat_fd(fd, &facts) == 0 && is_fresh(m, &facts);
}

/* Whether the directory of `path`, up to `length`, is the one that is kept. */
static bool is_kept(const struct machine *m, const char *path, size_t length)
{
	if (m->parent.fd < 0 || m->parent.length != length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (path[i] != m->parent.path[i])
			return false;
	return true;
}

/*
 * Where a walk begins: behind the parent directory of the last name, if that exists, as it mostly does; else at the root.
 * Returns its descriptor, or an error.
 */
static int open_start(struct machine *m, char *walk, char **at)
{
	char *slash = walk + strlen(walk);
	int fd;

	while (slash > walk && slash[-1] == '/')
		slash--;
	while (slash > walk && slash[-1] != '/')
		slash--;
	if (slash > walk + 1) {
		*--slash = 0;
		fd = open_in_root(m, walk, O_PATH | O_DIRECTORY, 0);
		*slash = '/';
		if (fd >= 0) {
			*at = slash;
			return fd;
		}
	}
	*at = walk;
	return open_in_root(m, ".", O_PATH | O_DIRECTORY, 0);
}

/*
 * One walk along `walk`, making what is missing. Returns an O_PATH descriptor, an error, or -ERANGE when another walk is
 * wanted: a dangling link was replaced in `walk` by what it points at, or something came meanwhile. `path`: what `walk` is a copy
 * of, if there was nothing there a moment ago.
 */
static int walk_and_make(struct machine *m, char *walk, enum target_kind kind, uint64_t resolve, const char *path)
{
	char *at;
	SCOPED_FD parent = open_start(m, walk, &at);

	if (parent < 0)
		return parent;
	for (;;) {
		char *slash = NULL, *rest = NULL;
		enum target_kind this_kind;
		int fd, error;

		while (*at == '/')
			at++;
		while (*at && *at != '/')
			at++;
		if (*at) {
			*at = 0;
			rest = at + 1;
			while (*rest == '/')
				rest++;
			if (!*rest)
				rest = NULL;
		}
		this_kind = rest ? TARGET_DIRECTORY : kind;
		fd = path && !rest ? -ENOENT : open_in_root(m, walk, O_PATH, rest ? 0 : resolve);
		if (fd == -ENOENT) {
			for (char *c = walk; *c; c++)
				if (*c == '/')
					slash = c;
			if (slash)
				*slash = 0;
			error = make_name(m, parent, slash ? walk : "", slash ? slash + 1 : walk, this_kind);
			if (slash)
				*slash = '/';
			if (error == -EEXIST) {
				if (resolve & RESOLVE_NO_SYMLINKS)
					return -ELOOP;
				error = follow_link(parent, walk, slash, rest);
				if (error == -EINVAL || error == -ENOENT) { /* no link: somebody made it meanwhile, and perhaps took it away */
					if (rest)
						*at = '/';
					return -ERANGE;
				}
				return error < 0 ? error : -ERANGE;
			}
			if (error < 0)
				return error;
			if (this_kind == TARGET_DIRECTORY)
				fd = open_made(parent, slash ? slash + 1 : walk);
			else
				fd = open_in_root(m, walk, O_PATH, resolve);
			if (path && slash && !rest && fd >= 0) {
				keep_parent(m, parent, path, (size_t)(slash + 1 - walk));
				m->parent.holds_target = true;
				parent = -1;
			}
		}
		if (fd < 0 || !rest)
			return fd;
		close_fd(parent);
		parent = fd;
		*at = '/';
	}
}

static int make_target(struct machine *m, const char *path, enum target_kind kind, uint64_t resolve)
{
	char walk[PATH_MAX];
	int fd;

	if (strlen(path) >= sizeof walk)
		return -ENAMETOOLONG;
	memcpy(walk, path, strlen(path) + 1);
	for (int links = 0; links < LINKS_MAX; links++) {
		fd = walk_and_make(m, walk, kind, resolve, links ? NULL : path);
		if (fd != -ERANGE)
			return fd;
	}
	return -ELOOP;
}

/* A directory beside what was made last, in a tmpfs of ours; -EEXIST where it is not to be there, or something is. */
static int make_beside(struct machine *m, const char *path)
{
	size_t length = directory_length(path);
	int error;

	if (!is_kept(m, path, length) || !m->parent.is_fresh || !path[length])
		return -EEXIST;
	error = (int)CALL3(mkdirat, m->parent.fd, path + length, 0755);
	if (error < 0)
		return error;
	m->parent.holds_target = true;
	return open_made(m->parent.fd, path + length);
}

int open_or_make(struct machine *m, const char *path, enum target_kind kind, uint64_t resolve, bool *is_new)
{
	int fd = kind == TARGET_DIRECTORY && !resolve ? make_beside(m, path) : -EEXIST;
	bool made = fd != -EEXIST;

	if (!made) {
		fd = open_in_root(m, path, O_PATH, resolve);
		made = fd == -ENOENT;
		if (made)
			fd = make_target(m, path, kind, resolve);
	}
	if (is_new)
		*is_new = made;
	return fd;
}

int open_parent(struct machine *m, const char *path, const char **name)
{
	char directory[PATH_MAX];
	size_t length = directory_length(path);
	int fd;

	*name = path + length;
	if (!**name)
		return -EISDIR;
	if (length >= sizeof directory)
		return -ENAMETOOLONG;
	if (is_kept(m, path, length))
		return m->parent.fd;
	memcpy(directory, path, length);
	directory[length] = 0;
	fd = open_or_make(m, directory, TARGET_DIRECTORY, 0, NULL);
	keep_parent(m, fd, path, length);
	return fd;
}
