/*
 * Who is attached.  A client that does not read what it is sent holds the container up, as a pipe would, once its socket is full: the owner (who runs
 * the container in the foreground) as long as it likes, any other for GUEST_MS; then it is dropped, for one forgotten terminal may not stop a service.
 * The log has every line by then.
 */
#include "monitor.h"

enum { SOL_SOCKET_ = 1, SO_SNDBUF_ = 7, SO_SNDBUFFORCE_ = 32, MSG_DONTWAIT_ = 0x40, MSG_NOSIGNAL_ = 0x4000 };
enum { ROOM_BYTES = 1 << 20 };

struct client clients[CLIENTS];
static uint64_t claims;

struct io_vector {
	const void *base;
	size_t length;
};

struct message {
	void *name;
	unsigned name_length;
	struct io_vector *vectors;
	size_t n_vectors;
	void *control;
	size_t control_length;
	int flags;
};

static long send_two(int fd, const char *kind, const void *bytes, size_t length)
{
	struct io_vector vectors[2] = {{kind, 1}, {bytes, length}};
	struct message message = {0, 0, vectors, 2, 0, 0, 0};

	return CALL3(sendmsg, fd, &message, MSG_DONTWAIT_ | MSG_NOSIGNAL_);
}

static void give_room(int fd, int bytes)
{
	if (CALL5(setsockopt, fd, SOL_SOCKET_, SO_SNDBUFFORCE_, &bytes, sizeof bytes) < 0)
		CALL5(setsockopt, fd, SOL_SOCKET_, SO_SNDBUF_, &bytes, sizeof bytes);
}

void client_add(int fd, unsigned char wants)
{
	char full = TELL_FULL;

	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd < 0) {
			*client = (struct client){.fd = fd, .wants = wants};
			if (wants & WANTS_OWNING)
				client->claimed = ++claims;
			give_room(fd, ROOM_BYTES);
			return;
		}
	send_two(fd, &full, "", 0);
	close_fd(fd);
}

void client_accept(int listener)
{
	long fd;

	while ((fd = CALL4(accept4, listener, 0, 0, O_CLOEXEC | O_NONBLOCK)) >= 0)
		client_add((int)fd, 0);
}

void client_drop(struct client *client)
{
	unsigned char wants = client->wants, behind = client->behind;

	if (wants & WANTS_RECORDED)
		starter_is_gone = 1;
	close_fd(client->fd);
	*client = (struct client){.fd = -1};
	owner_gone(client);
	for (struct stream *stream = streams; stream < streams + STREAMS; stream++)
		if ((behind & stream->want) && !clients_behind(stream->want))
			stream_taken(stream);
	if ((wants & WANTS_IN) && options.stdin_once) {
		stdin_closing = 1;
		stdin_flush();
	}
}

static void attach(struct client *client, unsigned char wants)
{
	client->wants = wants;
	client->claimed = wants & WANTS_OWNING ? ++claims : 0;
	if (is_settled())
		client_tell_exit(client, 0, exit_status);
	else if (client->claimed && is_settling())
		client_tell_exit(client, 1, exit_status); /* whoever was told before may wait for a lock that this one holds */
}

void client_hear(struct client *client)
{
	static unsigned char said[CHUNK + 2];
	long count = CALL6(recvfrom, client->fd, said, sizeof said - 1, MSG_DONTWAIT_, 0, 0);

	if (count == EAGAIN_ || count == EINTR_)
		return;
	if (count <= 0) {
		client_drop(client);
		return;
	}
	switch (said[0]) {
	case SAY_ATTACH:
		if (count > 1)
			attach(client, said[1]);
		break;
	case SAY_INPUT:
		if (client->wants & WANTS_IN)
			stdin_give(said + 1, (size_t)count - 1);
		break;
	case SAY_EOF:
		if (options.stdin_once && (client->wants & WANTS_IN)) {
			stdin_closing = 1;
			stdin_flush();
		}
		break;
	case SAY_RESIZE:
		if (count >= 5)
			resize_terminal((uint16_t)(said[1] | said[2] << 8), (uint16_t)(said[3] | said[4] << 8));
		break;
	case SAY_SETTLED:
		owner_settled(client, (char *)said + 1, (size_t)count - 1);
		break;
	case SAY_TIMER:
		if (!has_ended)
			timer_set((char *)said + 1, (size_t)count - 1);
		break;
	case SAY_DEED:
		said[count] = 0;
		if (!has_ended)
			deed_start_unheard((char *)said + 1);
		break;
	case SAY_QUIT:
		quits = 1;
		break;
	}
}

/* Send what a stream has from `from` on.  0 if the client could not take it. */
static int pass(struct client *client, struct stream *stream, size_t from)
{
	return send_two(client->fd, &stream->tell, stream->bytes + from, stream->end - from) != EAGAIN_;
}

/* Where in the buffer the chunk begins that clients have yet to take. */
static size_t fresh_from[STREAMS];

void clients_pass(struct stream *stream, size_t from)
{
	fresh_from[stream - streams] = from;
	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0 && (client->wants & stream->want) && !pass(client, stream, from)) {
			client->behind |= stream->want;
			client->stuck_since = now_ns();
		}
}

void client_retry(struct client *client)
{
	for (struct stream *stream = streams; stream < streams + STREAMS; stream++)
		if ((client->behind & stream->want) && pass(client, stream, fresh_from[stream - streams])) {
			client->behind &= (unsigned char)~stream->want;
			if (!clients_behind(stream->want))
				stream_taken(stream);
		}
}

int clients_behind(unsigned char want)
{
	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0 && (client->behind & want))
			return 1;
	return 0;
}

void clients_note_log(void)
{
	char kind = TELL_LOGGED;

	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0 && (client->wants & WANTS_LOGGED))
			send_two(client->fd, &kind, "", 0); /* a full socket holds an earlier one */
}

struct client *clients_owner(void)
{
	struct client *owner = 0;

	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0 && client->claimed && !client->is_told && (!owner || client->claimed > owner->claimed))
			owner = client;
	return owner;
}

void client_tell_exit(struct client *client, int settles, int status)
{
	char kind = TELL_EXIT, words[16];
	char *end;

	words[0] = settles ? '1' : '0';
	words[1] = ' ';
	end = put_number(words + 2, (uint64_t)status);
	send_two(client->fd, &kind, words, (size_t)(end - words));
	client->is_told = 1;
	client->settles = settles != 0;
}

void clients_make_room(void)
{
	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0)
			give_room(client->fd, 4 * ROOM_BYTES);
}
