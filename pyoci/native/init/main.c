/* init's loop: take the baton, carry out operations in order, give the baton back; report the first failure and end. */
#include <linux/mman.h>
#include <linux/prctl.h>

#include "init.h"

enum { READ_WRITE = 3, PRIVATE = 2, ANONYMOUS = 0x20, SHARED = 1, ARENA = 65536 };

static char *map_memory(struct machine *m, size_t length)
{
	long memory = CALL6(mmap, NULL, length, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0);

	if (memory < 0 && memory > -4096) {
		fail(m, STEP_MMAP, memory, NULL);
		return NULL;
	}
	return (char *)(uintptr_t)memory;
}

char *grab(struct machine *m, size_t bytes)
{
	char *memory;

	if (!bytes) {
		if (!m->scratch)
			m->scratch = map_memory(m, SCRATCH);
		return m->scratch;
	}
	bytes = (bytes + 7) & ~(size_t)7;
	if (bytes > m->arena_left) {
		size_t length = bytes > ARENA ? bytes : ARENA;

		m->arena = map_memory(m, length);
		m->arena_left = m->arena ? length : 0;
		if (!m->arena)
			return NULL;
	}
	memory = m->arena;
	m->arena += bytes;
	m->arena_left -= bytes;
	return memory;
}

char *keep_text(struct machine *m, const char *before, const char *text)
{
	size_t length = strlen(before) + strlen(text) + 1;
	char *copy = grab(m, length);

	if (copy)
		put_text(put_text(copy, copy + length, before), copy + length, text);
	return copy;
}

void let_go(struct machine *m, int keep)
{
	for (int slot = 0; slot < MAX_SLOTS; slot++)
		if (m->slots[slot] != keep) {
			close_fd(m->slots[slot]);
			m->slots[slot] = -1;
		}
	close_fd(m->root);
	close_fd(m->null_device);
	close_fd(m->empty);
	close_fd(m->channel);
	m->root = m->null_device = m->empty = m->channel = -1;
	if (m->scratch)
		CALL2(munmap, m->scratch, SCRATCH);
	m->scratch = NULL;
	/* The stack below this frame served paths; a container that waits for days needs none of it. */
	{
		/* Below this frame, and below what the ABI lets it use without moving the stack pointer. */
		uintptr_t page = ((uintptr_t)__builtin_frame_address(0) - 512) & ~(uintptr_t)4095;

		CALL3(madvise, (void *)(page - 4096 * 16), 4096 * 16, MADV_DONTNEED);
	}
}

#define ACT(kind, name) case OP_##kind: return run_##name(m, PLAN_ARGS(&m->plan, op, name))
#define ACT0(kind, name) case OP_##kind: return run_##name(m)

static int carry_out(struct machine *m, const struct op *op)
{
	switch ((enum op_kind)op->kind) {
	ACT(WAIT_FOR, wait_for);
	ACT0(BECOME_ROOT, become_root);
	ACT(JOIN, join);
	ACT(UNSHARE, unshare);
	ACT0(CLONE_AGAIN, clone_again);
	ACT0(NEW_SESSION, new_session);
	ACT(KEYRING, keyring);
	ACT0(LOOPBACK_UP, loopback_up);
	ACT(PROPAGATE_ROOT, propagate_root);
	ACT(OPEN_ROOTFS, open_rootfs);
	ACT(MOUNT, mount);
	ACT(BIND, bind);
	ACT(REMOUNT, remount);
	ACT(PROPAGATE, propagate);
	ACT(CGROUP_VIEW, cgroup_view);
	ACT(MAKE_LINK, make_link);
	ACT(MAKE_DEVICE, make_device);
	ACT(BIND_DEVICE, bind_device);
	ACT(HOOK_INSIDE, hook_inside);
	ACT0(PIVOT, pivot);
	ACT0(MOVE_ROOT, move_root);
	ACT0(CHANGE_ROOT, change_root);
	ACT(MAKE_CWD, make_cwd);
	ACT(OPEN_CONSOLE, open_console);
	ACT0(SEAL_ROOT, seal_root);
	ACT(SEAL_MOUNT, seal_mount);
	ACT(HOSTNAME, hostname);
	ACT(DOMAINNAME, domainname);
	ACT(SYSCTL, sysctl);
	ACT(PROTECT, protect);
	ACT(HIDE, hide);
	ACT(LABEL, label);
	ACT(ENTER_CGROUPS, enter_cgroups);
	ACT0(NO_NEW_PRIVILEGES, no_new_privileges);
	ACT(PERSONALITY, personality);
	ACT(SET_UMASK, set_umask);
	ACT(OWN_STDIO, own_stdio);
	ACT(BOUND_CAPABILITIES, bound_capabilities);
	ACT(BECOME_USER, become_user);
	ACT(CAPABILITIES, capabilities);
	ACT(CHANGE_DIRECTORY, change_directory);
	ACT(HOME, home);
	ACT(FIND_PROGRAM, find_program);
	ACT(SECCOMP, seccomp);
	ACT(CLOSE_ON_EXECUTE, close_on_execute);
	ACT(GATE, gate);
	ACT(EXECUTE, execute);
	ACT0(LEAVE, leave);
	/* The runtime's; the loop never brings one here. */
	case OP_CLAIM: case OP_LISTEN: case OP_MAKE_DIRECTORY: case OP_OPEN_NAMESPACE: case OP_OPEN_PROCFS:
	case OP_MAKE_CGROUP: case OP_DELEGATE_CGROUP: case OP_LIMIT: case OP_OPEN_CGROUPS: case OP_SPAWN: case OP_MAP_IDS:
	case OP_START_SCOPE: case OP_SPAWN_STAND_IN: case OP_CHANGE_SCOPE: case OP_PLACE_IN_CGROUP: case OP_SCORE_OOM:
	case OP_OPEN_SOURCE: case OP_HOOK: case OP_LIMIT_PROCESS: case OP_SEND_CONSOLE: case OP_SEND_PIDFD: case OP_RECORD:
	case OP_WRITE_PID: case OP_UNDO: case OP_MAKE_MOUNT_POINTS: case OP_RESTORE_NAMESPACES: case OP_RAISE_LOOPBACK:
	case OP_RESTORE_PROCESSES: case OP_RESUME_PROCESSES:
		break;
	}
	return fail(m, STEP_PLAN, 0, NULL);
}

static int map_plan(struct machine *m)
{
	struct statx facts;
	long error = stat_fd(m->slots[SLOT_PLAN], &facts);
	long bytes, word;

	if (error < 0)
		return fail(m, STEP_PLAN, error, NULL);
	bytes = CALL6(mmap, NULL, facts.stx_size, READ_WRITE, PRIVATE, m->slots[SLOT_PLAN], 0);
	if (bytes < 0 && bytes > -4096)
		return fail(m, STEP_MMAP, bytes, NULL);
	error = plan_read(&m->plan, (unsigned char *)(uintptr_t)bytes, facts.stx_size);
	if (error != PLAN_GOOD)
		return fail_item(m, STEP_PLAN, 0, (uint32_t)error, NULL);
	word = CALL6(mmap, NULL, 4096, READ_WRITE, SHARED, m->slots[SLOT_WORD], 0);
	if (word < 0 && word > -4096)
		return fail(m, STEP_MMAP, word, NULL);
	m->word = (volatile uint32_t *)(uintptr_t)word;
	close_fd(m->slots[SLOT_PLAN]);
	close_fd(m->slots[SLOT_WORD]);
	m->slots[SLOT_PLAN] = m->slots[SLOT_WORD] = -1;
	return 0;
}

static int run_plan(struct machine *m)
{
	long told = receive_until(m, MESSAGE_RUN, &m->index);

	CALL5(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (told < 0 || map_plan(m) < 0)
		return -1;
	while (m->index < m->plan.count) {
		const struct op *op = &m->plan.ops[m->index];

		/* What others do, and what else we do, may cover the way there. */
		m->parent.holds_target = false;
		if (op->kind != OP_MOUNT && op->kind != OP_BIND && op->kind != OP_MAKE_DEVICE && op->kind != OP_MAKE_LINK)
			forget_parent(m);
		if (*op_arguments[op->kind] == 'H') {
			if (send_message(m, MESSAGE_TURN, m->index) < 0 || receive_until(m, MESSAGE_RUN, &m->index) < 0)
				return -1;
			continue;
		}
		m->word[1] = m->index;
		if (carry_out(m, op) < 0)
			return -1;
		m->index++;
	}
	return fail(m, STEP_PLAN, 0, NULL);
}

static int number_of(const char *text)
{
	int number = 0;

	while (*text >= '0' && *text <= '9' && number < 100000)
		number = number * 10 + (*text++ - '0');
	return number;
}

__attribute__((noreturn, used)) void start(long *stack)
{
	struct machine m = { .root = -1, .null_device = -1, .empty = -1, .parent.fd = -1 };
	char **argv = (char **)(stack + 1);

	if (stack[0] < 2)
		exit_now(2);
	for (int slot = 0; slot < MAX_SLOTS; slot++)
		m.slots[slot] = -1;
	/*
	 * Nobody may look into us, or through /proc/PID/fd and exe, from a namespace that we join. A runtime without privilege
	 * writes the id maps and the OOM score as the owner of /proc/PID, which it is while we may be looked at: until it says RUN.
	 */
	m.open = stack[0] > 2;
	if (!m.open)
		CALL5(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	CALL1(umask, 0);
	m.channel = number_of(argv[1]);
	if (CALL3(fcntl, m.channel, F_SETFD, FD_CLOEXEC) < 0)
		exit_now(2);
	if (run_plan(&m) < 0)
		report_failure(&m);
	exit_now(1);
}
