/* tmpcopyup: a tmpfs that begins with what it covers (config.md#mounts, option tmpcopyup). All by descriptor, no link followed. */
#include "init.h"

enum { DEPTH_MAX = 100, ENTRIES_BYTES = 2048 };

struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

static int copy_directory(struct machine *m, int from, int to, int depth);

static int copy_attributes(struct machine *m, int fd, const struct statx *facts, const char *name)
{
	long error = CALL5(fchownat, fd, "", facts->stx_uid, facts->stx_gid, AT_EMPTY_PATH);

	if (error < 0)
		return fail(m, STEP_FCHOWN, error, name);
	if (S_ISLNK(facts->stx_mode))
		return 0;
	error = CALL2(fchmod, fd, facts->stx_mode & 07777u);
	return error < 0 ? fail(m, STEP_FCHMOD, error, name) : 0;
}

static int copy_bytes(struct machine *m, int from, int to, const char *name)
{
	long count;

	do
		count = CALL4(sendfile, to, from, NULL, 1 << 30);
	while (count > 0);
	return count < 0 ? fail(m, STEP_COPY, count, name) : 0;
}

static int copy_file(struct machine *m, int from, int to, const char *name, const struct statx *facts)
{
	SCOPED_FD source = (int)CALL4(openat, from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	SCOPED_FD copy = -1;

	if (source < 0)
		return fail(m, STEP_OPEN, source, name);
	copy = (int)CALL4(openat, to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (copy < 0)
		return fail(m, STEP_OPEN, copy, name);
	return copy_bytes(m, source, copy, name) < 0 ? -1 : copy_attributes(m, copy, facts, name);
}

static int copy_link(struct machine *m, int from, int to, const char *name, const struct statx *facts)
{
	char content[PATH_MAX];
	long length = CALL4(readlinkat, from, name, content, sizeof content - 1);
	long error;

	if (length < 0)
		return fail(m, STEP_READLINK, length, name);
	content[length] = 0;
	error = CALL3(symlinkat, content, to, name);
	if (error < 0)
		return fail(m, STEP_SYMLINKAT, error, name);
	error = CALL5(fchownat, to, name, facts->stx_uid, facts->stx_gid, AT_SYMLINK_NOFOLLOW);
	return error < 0 ? fail(m, STEP_FCHOWN, error, name) : 0;
}

static int copy_subdirectory(struct machine *m, int from, int to, const char *name, int depth)
{
	SCOPED_FD source = (int)CALL4(openat, from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	SCOPED_FD copy = -1;
	long error;

	if (source < 0)
		return fail(m, STEP_OPEN, source, name);
	error = CALL3(mkdirat, to, name, 0700);
	if (error < 0)
		return fail(m, STEP_MKDIRAT, error, name);
	copy = (int)CALL4(openat, to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (copy < 0)
		return fail(m, STEP_OPEN, copy, name);
	return copy_directory(m, source, copy, depth + 1);
}

static int copy_entry(struct machine *m, int from, int to, const char *name, int depth)
{
	struct statx facts;
	uint32_t device;
	long error = CALL5(statx, from, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &facts);

	if (error < 0)
		return fail(m, STEP_FSTAT, error, name);
	switch (facts.stx_mode & S_IFMT) {
	case S_IFDIR:
		return copy_subdirectory(m, from, to, name, depth);
	case S_IFREG:
		return copy_file(m, from, to, name, &facts);
	case S_IFLNK:
		return copy_link(m, from, to, name, &facts);
	default:
		device = (facts.stx_rdev_minor & 0xffu) | facts.stx_rdev_major << 8 | (facts.stx_rdev_minor & ~0xffu) << 12;
		error = CALL4(mknodat, to, name, facts.stx_mode, device);
		if (error >= 0)
			error = CALL5(fchownat, to, name, facts.stx_uid, facts.stx_gid, AT_SYMLINK_NOFOLLOW);
		return error < 0 ? fail(m, STEP_MKNODAT, error, name) : 0;
	}
}

static int copy_directory(struct machine *m, int from, int to, int depth)
{
	_Alignas(8) char entries[ENTRIES_BYTES];
	struct statx facts;
	long length, error;

	if (depth > DEPTH_MAX)
		return fail(m, STEP_COPY, ELOOP, NULL);
	while ((length = CALL3(getdents64, from, entries, sizeof entries)) > 0)
		for (long at = 0; at < length;) {
			const struct entry *entry = (const void *)(entries + at);

			at += entry->length;
			if (text_equal(entry->name, ".") || text_equal(entry->name, ".."))
				continue;
			if (copy_entry(m, from, to, entry->name, depth) < 0)
				return -1;
		}
	if (length < 0)
		return fail(m, STEP_GETDENTS64, length, NULL);
	error = stat_fd(from, &facts);
	return error < 0 ? fail(m, STEP_FSTAT, error, NULL) : copy_attributes(m, to, &facts, NULL);
}

int copy_up(struct machine *m, int from, int to)
{
	SCOPED_FD source = (int)CALL4(openat, from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	SCOPED_FD copy = (int)CALL4(openat, to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (source < 0 || copy < 0)
		return fail(m, STEP_OPEN, source < 0 ? source : copy, NULL);
	return copy_directory(m, source, copy, 0);
}
