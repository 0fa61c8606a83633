/*
 * init: carries out the INIT operations of a plan inside the container's namespaces, and becomes its process.
 * One function an operation, which returns 0, or fills the failure record and returns -1. No sentences, no policy.
 */
#pragma once

#include "plan.h"

/* Slots that every plan uses; the compiler gives out the rest from SLOT_FREE on. */
enum { SLOT_PLAN, SLOT_WORD, SLOT_JOURNAL, SLOT_GATE, SLOT_FREE };

struct failure {
	enum step step;
	int error;             /* errno, positive, or 0 */
	uint32_t item;
	const char *text;      /* what the step was on, or what was seen; lives until the report is sent */
};

enum { MAX_FRESH = 8 };

struct machine {
	struct plan plan;
	int channel;           /* to the runtime; after `gate`, to `start` */
	int slots[MAX_SLOTS];
	uint32_t up;           /* slots to send up with the next turn, a bit each */
	uint32_t done;         /* the overlapped operation that was reported done last, plus one */
	uint32_t index;
	volatile uint32_t *word; /* the running word: [0] HOST's, [1] ours */
	int root;              /* O_PATH of the rootfs, -1 until it is open */
	int null_device;       /* the host's /dev/null, verified */
	int empty;             /* a hidden directory, cloned for the next one */
	struct device {
		uint32_t major, minor;
	} fresh[MAX_FRESH];    /* of the tmpfs that we mounted: what is made in them goes with them, and is noted nowhere */
	unsigned fresh_count;
	struct {
		int fd;
		const char *path;  /* of what was made in it, and how much of that is the directory's own */
		size_t length;
		bool is_fresh;
		bool holds_target; /* the target of this operation was made in it, so that a mount on that covers nothing of the way there */
	} parent;              /* of what was made last, kept while it is certain that its path still leads there */
	const char *home;      /* HOME=..., or NULL */
	char *scratch;         /* SCRATCH bytes, mapped on first use */
	char *arena;           /* what is left of the memory that grab gives out */
	size_t arena_left;
	const char *program;   /* the path that find_program found */
	bool in_place;         /* the working directory is entered */
	bool open;             /* the runtime writes our id maps as the owner of /proc/PID */
	struct failure failure;
};

#define SCRATCH 65536

int fail(struct machine *m, enum step step, long error, const char *text);
int fail_item(struct machine *m, enum step step, long error, uint32_t item, const char *text);
/* Zeroed memory that lasts until the end, of 0 bytes the scratch memory: init has no heap. NULL with the failure filled. */
char *grab(struct machine *m, size_t bytes);
/* A copy of the text that lasts, with `before` put in front; NULL likewise. */
char *keep_text(struct machine *m, const char *before, const char *text);

/* report.c: the channel */
int receive_until(struct machine *m, uint32_t wanted, uint32_t *index);
int send_message(struct machine *m, uint32_t type, uint32_t index);
/* Give up all that a waiting container does not need: descriptors, and memory that only working took. */
void let_go(struct machine *m, int keep);
void report_failure(struct machine *m);
void report_child(struct machine *m);
void warn(struct machine *m, enum step step, long error, uint32_t item);

/* paths.c: every path below the rootfs is resolved by these, in the kernel, with the rootfs as root */
int open_in_root(struct machine *m, const char *path, int flags, uint64_t resolve);
enum target_kind { TARGET_FILE, TARGET_DIRECTORY };
/* Is_new, where it is given: whether it was made. As all paths below, this one must last. */
int open_or_make(struct machine *m, const char *path, enum target_kind kind, uint64_t resolve, bool *is_new);
/* The directory that holds the last name of path, made if missing, which the machine closes; *name points into path. */
int open_parent(struct machine *m, const char *path, const char **name);
void forget_parent(struct machine *m);
bool is_missing(int parent, const char *name);
void remember_fresh(struct machine *m, int mount);
int note_made(struct machine *m, int parent, const char *path, size_t length, const char *name, char kind);
int stat_fd(int fd, struct statx *facts);
bool are_of_device(const struct statx *facts, uint32_t type, uint32_t major, uint32_t minor);
bool is_device(int fd, uint32_t type, uint32_t major, uint32_t minor);
bool is_directory(int fd);
long filesystem_type(int fd);

int clone_tree(struct machine *m, int fd, const char *path, bool recursive);
int attach(struct machine *m, int tree, int target, const char *text);
int refuse_procfs(struct machine *m, int target, const char *text);
/* copy.c: the content of the directory, as it is seen now, into the new mount */
int copy_up(struct machine *m, int from, int to);
int set_attributes(struct machine *m, int fd, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive, const char *text);

#define OPERATION(name) int run_##name(struct machine *m, const struct op_##name *a)
#define OPERATION0(name) int run_##name(struct machine *m)
OPERATION(wait_for); OPERATION0(become_root); OPERATION(join); OPERATION(unshare); OPERATION0(clone_again);
OPERATION0(new_session); OPERATION(keyring); OPERATION0(loopback_up); OPERATION(propagate_root); OPERATION(open_rootfs);
OPERATION(mount); OPERATION(bind); OPERATION(remount); OPERATION(propagate); OPERATION(cgroup_view); OPERATION(make_link);
OPERATION(make_device); OPERATION(bind_device); OPERATION(hook_inside); OPERATION0(pivot); OPERATION0(move_root);
OPERATION0(change_root); OPERATION(make_cwd); OPERATION(open_console); OPERATION0(seal_root); OPERATION(seal_mount);
OPERATION(hostname); OPERATION(domainname); OPERATION(sysctl); OPERATION(protect); OPERATION(hide);
OPERATION0(no_new_privileges); OPERATION(personality); OPERATION(set_umask); OPERATION(own_stdio);
OPERATION(bound_capabilities); OPERATION(become_user); OPERATION(capabilities); OPERATION(change_directory);
OPERATION(home); OPERATION(find_program); OPERATION(seccomp); OPERATION(gate); OPERATION(execute); OPERATION(close_on_execute);
OPERATION(label); OPERATION0(leave); OPERATION(enter_cgroups);
