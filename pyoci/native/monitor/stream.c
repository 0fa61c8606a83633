/* The container's standard streams, or the master of its terminal. */
#include "monitor.h"

enum { F_GETPIPE_SZ_ = 1032, TERMINAL_BYTES = 1 << 20 }; /* a terminal's buffers are below that */

struct stream streams[STREAMS];
int stdin_fd = -1;
int stdin_closing;

static unsigned char input[CHUNK];
static size_t input_start, input_end;

void streams_prepare(void)
{
	for (struct stream *stream = streams; stream < streams + STREAMS; stream++) {
		int is_error = stream != streams;

		stream->fd = -1;
		stream->tell = is_error ? TELL_ERR : TELL_OUT;
		stream->want = is_error ? WANTS_ERR : WANTS_OUT;
		stream->name = is_error ? "stderr" : "stdout";
	}
}

/* How many bytes at the end are the beginning of a character that goes on: they stay together with the rest of it. */
static size_t cut_character(const unsigned char *bytes, size_t count)
{
	for (size_t back = 1; back <= 3 && back < count; back++) {
		unsigned char byte = bytes[count - back];

		if (byte >= 0xC0)
			return back < (size_t)(byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2) ? back : 0;
		if (byte < 0x80)
			return 0;
	}
	return 0;
}

static void log_lines(struct stream *stream)
{
	size_t start = stream->logged;

	for (size_t at = start; at < stream->end; at++)
		if (stream->bytes[at] == '\n') {
			log_line(stream->name, stream->bytes + start, at - start, 1);
			start = at + 1;
		}
	if (!start && stream->end == CHUNK) { /* longer than the buffer: in parts, which don't end a line */
		start = CHUNK - cut_character(stream->bytes, CHUNK);
		log_line(stream->name, stream->bytes, start, 0);
	}
	stream->logged = start;
	log_flush();
}

void stream_taken(struct stream *stream)
{
	size_t left = stream->end - stream->logged;

	if (stream->logged)
		for (size_t at = 0; at < left; at++)
			stream->bytes[at] = stream->bytes[stream->logged + at];
	stream->end = left;
	stream->logged = 0;
}

void stream_close(struct stream *stream)
{
	if (stream->fd < 0)
		return;
	if (stream->end > stream->logged)
		log_line(stream->name, stream->bytes + stream->logged, stream->end - stream->logged, 0);
	log_flush();
	if (stream->fd == stdin_fd)
		stdin_fd = -1;
	close_fd(stream->fd);
	stream->fd = -1;
	stream->end = stream->logged = 0;
}

void streams_ended(void)
{
	for (struct stream *stream = streams; stream < streams + STREAMS; stream++) {
		long room = CALL3(fcntl, stream->fd, F_GETPIPE_SZ_, 0);

		stream->owed = room > 0 ? (size_t)room : TERMINAL_BYTES;
	}
}

/* How much to read at once; 0 when all is read that can have been written before the container's end. */
static size_t room_for(const struct stream *stream)
{
	size_t room = CHUNK - stream->end;

	return has_ended && room > stream->owed ? stream->owed : room;
}

void stream_read(struct stream *stream)
{
	size_t from = stream->end;
	long count = CALL3(read, stream->fd, stream->bytes + from, room_for(stream));

	stream->retry_ns = 0;
	if (count > 0) {
		stream->owed -= has_ended ? (size_t)count : 0;
		stream->end += (size_t)count;
		log_lines(stream);
		clients_pass(stream, from);
		if (!clients_behind(stream->want))
			stream_taken(stream);
		return;
	}
	if (count == EINTR_ || (count == EAGAIN_ && !has_ended))
		return;
	/* EIO: nobody holds the terminal at the moment; while the container runs somebody may open it again. */
	if (count == -EIO && !has_ended)
		stream->retry_ns = now_ns() + 100 * MS;
	else
		stream_close(stream);
}

size_t stdin_waiting(void)
{
	return input_end - input_start;
}

static void stdin_close(void)
{
	if (stdin_fd >= 0 && stdin_fd != streams[0].fd)
		close_fd(stdin_fd);
	if (stdin_fd != streams[0].fd)
		stdin_fd = -1;
	input_start = input_end = 0;
}

void stdin_flush(void)
{
	while (stdin_fd >= 0 && input_start < input_end) {
		long wrote = CALL3(write, stdin_fd, input + input_start, input_end - input_start);

		if (wrote == EAGAIN_)
			return;
		if (wrote == EINTR_)
			continue;
		if (wrote <= 0) { /* the reader is gone */
			stdin_close();
			return;
		}
		input_start += (size_t)wrote;
	}
	input_start = input_end = 0;
	if (stdin_closing)
		stdin_close();
}

void stdin_give(const unsigned char *bytes, size_t length)
{
	if (stdin_fd < 0 || stdin_closing)
		return;
	if (length > CHUNK - input_end)
		length = CHUNK - input_end;
	memcpy(input + input_end, bytes, length);
	input_end += length;
	stdin_flush();
}

void streams_discard(int count)
{
	struct poll_fd polled[STREAMS] = {{0, POLLIN_, 0}, {1, POLLIN_, 0}};

	for (int open = count; open;) {
		if (CALL5(ppoll, polled, (unsigned)count, 0, 0, 8) < 0)
			continue;
		for (int fd = 0; fd < count; fd++)
			if (polled[fd].revents && CALL3(read, fd, streams[0].bytes, CHUNK) <= 0) {
				polled[fd].fd = -1;
				open--;
			}
	}
}
