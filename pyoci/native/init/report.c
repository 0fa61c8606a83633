/* The channel: messages, descriptors, the failure record. The layout is written down in pyoci/plan/wire.py. */
#include "init.h"

struct message {
	uint32_t type, index, step;
	int32_t error;
	uint32_t item, n_fds;
	uint8_t slots[MAX_SLOTS];
};

/* The kernel's msghdr and cmsghdr, which the headers without libc do not give. */
struct vector {
	void *base;
	size_t length;
};

struct message_header {
	void *name;
	uint32_t name_length;
	struct vector *parts;
	size_t n_parts;
	void *control;
	size_t control_length;
	uint32_t flags;
};

struct rights {
	size_t length;
	int level, type;
	int fds[MAX_SLOTS];
};

enum { LEVEL_SOCKET = 1, TYPE_RIGHTS = 1, FLAG_NOSIGNAL = 0x4000, FLAG_CLOEXEC = 0x40000000 };
#define RIGHTS_HEAD offsetof(struct rights, fds)

int fail_item(struct machine *m, enum step step, long error, uint32_t item, const char *text)
{
	m->failure = (struct failure){ step, (int)(error < 0 ? -error : error), item, text };
	return -1;
}

int fail(struct machine *m, enum step step, long error, const char *text)
{
	return fail_item(m, step, error, 0, text);
}

static long send_record(struct machine *m, struct message *message, const char *text)
{
	struct vector parts[2] = { { message, sizeof *message }, { (void *)(uintptr_t)text, text ? strlen(text) : 0 } };
	struct message_header header = { .parts = parts, .n_parts = 2 };
	struct rights rights;
	long sent;

	for (uint32_t slot = 0; slot < MAX_SLOTS; slot++)
		if (m->up >> slot & 1) {
			rights.fds[message->n_fds] = m->slots[slot];
			message->slots[message->n_fds++] = (uint8_t)slot;
		}
	if (message->n_fds) {
		rights.length = RIGHTS_HEAD + sizeof(int) * message->n_fds;
		rights.level = LEVEL_SOCKET;
		rights.type = TYPE_RIGHTS;
		header.control = &rights;
		header.control_length = (rights.length + 7) & ~(size_t)7;
	}
	do
		sent = CALL3(sendmsg, m->channel, &header, FLAG_NOSIGNAL);
	while (sent == -EINTR);
	/* What was sent up is the runtime's now. */
	for (uint32_t i = 0; i < message->n_fds; i++) {
		close_fd(m->slots[message->slots[i]]);
		m->slots[message->slots[i]] = -1;
	}
	m->up = 0;
	return sent;
}

int send_message(struct machine *m, uint32_t type, uint32_t index)
{
	struct message message = { .type = type, .index = index };
	long sent = send_record(m, &message, NULL);

	return sent < 0 ? fail(m, STEP_SENDMSG, sent, NULL) : 0;
}

void warn(struct machine *m, enum step step, long error, uint32_t item)
{
	struct message message = { .type = MESSAGE_WARN, .index = m->index, .step = step, .error = (int)(error < 0 ? -error : error),
				   .item = item };

	send_record(m, &message, NULL);
}

void report_failure(struct machine *m)
{
	struct message message = { .type = MESSAGE_FAIL, .index = m->index, .step = m->failure.step, .error = m->failure.error,
				   .item = m->failure.item };

	m->up = 0;
	send_record(m, &message, m->failure.text);
}

/* Take one message; the end of the channel means that the runtime is gone, and init with it. */
static int receive_one(struct machine *m, struct message *message)
{
	struct vector part = { message, sizeof *message };
	struct rights rights;
	struct message_header header = { .parts = &part, .n_parts = 1, .control = &rights, .control_length = sizeof rights };
	long length;

	do
		length = CALL3(recvmsg, m->channel, &header, FLAG_CLOEXEC);
	while (length == -EINTR);
	if (length == 0 || length == -ECONNRESET)
		exit_now(1);
	if (length < (long)sizeof *message)
		return fail(m, STEP_RECVMSG, length < 0 ? length : EBADMSG, NULL);
	if (header.control_length < RIGHTS_HEAD)
		return 0;
	for (uint32_t i = 0; i < (rights.length - RIGHTS_HEAD) / sizeof(int) && i < message->n_fds && i < MAX_SLOTS; i++) {
		uint8_t slot = message->slots[i];

		if (slot >= MAX_SLOTS)
			return fail(m, STEP_RECVMSG, EBADMSG, NULL);
		close_fd(m->slots[slot]);
		m->slots[slot] = rights.fds[i];
	}
	return 0;
}

/* Receive until a message of the wanted type comes; what an overlapped operation reports on the way is kept. */
int receive_until(struct machine *m, uint32_t wanted, uint32_t *index)
{
	struct message message;

	do {
		if (receive_one(m, &message) < 0)
			return -1;
		if (message.type == MESSAGE_DONE)
			m->done = message.index + 1;
	} while (message.type != wanted);
	*index = message.index;
	return 0;
}

/* Tell the runtime who goes on: the pidfd in its slot, the pid in the item. */
void report_child(struct machine *m)
{
	struct message message = { .type = MESSAGE_CHILD, .index = m->index, .item = m->failure.item };

	send_record(m, &message, NULL);
}
