/*
 * The monitor: one small process a container.  It is the parent that the container's first process gets (a subreaper), holds the streams, writes the
 * log, serves the clients of attach.sock, and notes the exit.  What takes a decision is a deed: `minidocker` started for it.
 *
 *     main.c     the loop, and the container's life as seen from here
 *     stream.c   stdout, stderr or the terminal: read, logged, passed on; stdin
 *     log.c      docker's json-file format, rotated
 *     client.c   who is attached
 *     deed.c     starting MiniDocker, and the timer for it
 *
 * No heap and no libc: its memory is what it touches of these static buffers.  docs/decisions/0022.
 */
#pragma once

#include "../init/nolibc.h"

enum { CHUNK = 16384, CLIENTS = 64, STREAMS = 2, NAME_BYTES = 32 };
enum { POLLIN_ = 1, POLLOUT_ = 4, POLLERR_ = 8, POLLHUP_ = 16 };
#define MS 1000000LL
#define EAGAIN_ (-11L)
#define EINTR_ (-4L)

struct poll_fd {
	int fd;
	short events, revents;
};

/* --- what a client may say (first byte of a message), and what it is told */
enum {
	SAY_ATTACH = 'A', /* flags: one byte of WANTS_ */
	SAY_INPUT = 'I',  /* bytes for stdin */
	SAY_EOF = 'E',    /* no more of them */
	SAY_RESIZE = 'R', /* rows, columns: 16 bits each, little-endian */
	SAY_SETTLED = 'S', /* the exit is dealt with; then perhaps what to start when, "NAME MILLISECONDS" */
	SAY_TIMER = 'T',  /* "NAME MILLISECONDS": start that deed then */
	SAY_DEED = 'D',   /* name: start that deed now, whose children are then ours to reap */
	SAY_QUIT = 'Q',   /* end, when the container has */
	TELL_OUT = 'O',
	TELL_ERR = 'e',
	TELL_LOGGED = 'N', /* the log has grown */
	TELL_FULL = 'F',   /* there are CLIENTS already; the connection ends */
	TELL_EXIT = 'X',   /* "SETTLE STATUS": 1 if this client is to settle, and the exit status */
};
enum { WANTS_OUT = 1, WANTS_ERR = 2, WANTS_IN = 4, WANTS_OWNING = 8, WANTS_LOGGED = 16, WANTS_RECORDED = 32 };

/* --- main.c */
struct options {
	const char *id;
	const char *logs;       /* the folder of log.json, or "" for no log */
	uint64_t log_max_bytes; /* 0: no rotation */
	uint64_t log_files;
	int stdin_once;
	int live; /* RUN/containers/ID */
	char **deed; /* the command, to which NAME and ID are added; null-terminated */
	char **environ;
	char score[16]; /* oom_score_adj of who started the monitor, "" if unknown */
};
extern struct options options;
extern int has_ended; /* the container's first process has */
extern int exit_status;
int is_settling(void); /* and somebody has been told to deal with it */
int is_settled(void);  /* and that is done */
int64_t now_ns(void);  /* CLOCK_MONOTONIC */

/* --- stream.c */
struct stream {
	int fd; /* -1: none, or closed */
	char tell;
	unsigned char want;
	const char *name;
	size_t end;    /* bytes in the buffer */
	size_t logged; /* of them, in the log */
	int64_t retry_ns; /* a terminal nobody holds: when to look again */
	size_t owed; /* after the container's end: what may have been written before it, at most */
	unsigned char bytes[CHUNK];
};
extern struct stream streams[STREAMS];
void streams_prepare(void);
/* The container has ended: what others go on writing is not waited for. */
void streams_ended(void);
void stream_read(struct stream *stream);
/* The chunk is with all clients: make room. */
void stream_taken(struct stream *stream);
/* What is left without an end of line goes into the log; the descriptor closes. */
void stream_close(struct stream *stream);
/* Read descriptors 0 to count - 1 until nobody writes to them any more. */
void streams_discard(int count);
extern int stdin_fd;
extern int stdin_closing;
size_t stdin_waiting(void);
void stdin_give(const unsigned char *bytes, size_t length);
void stdin_flush(void);

/* --- log.c */
void log_open(void);
void log_line(const char *stream_name, const unsigned char *bytes, size_t length, int ends);
void log_flush(void);
extern uint64_t log_lost; /* lines that no disk took */

/* --- client.c */
struct client {
	int fd;
	unsigned char wants;
	unsigned char behind; /* WANTS_OUT, WANTS_ERR: has yet to take that stream's chunk */
	unsigned char is_told; /* of the exit */
	unsigned char settles; /* and that it is to settle it */
	int64_t stuck_since; /* when it fell behind */
	uint64_t claimed; /* number of its claim to settle, 0: none */
};
extern struct client clients[CLIENTS];
void client_add(int fd, unsigned char wants);
void client_accept(int listener);
void client_hear(struct client *client);
void client_retry(struct client *client);
void client_drop(struct client *client);
void clients_pass(struct stream *stream, size_t from);
int clients_behind(unsigned char want);
void clients_note_log(void);
struct client *clients_owner(void);
void client_tell_exit(struct client *client, int settles, int status);
void clients_make_room(void);

/* --- deed.c */
struct deed {
	int64_t pid;
	int reply;       /* its standard output */
	int64_t since;
	int is_after_end;
};
extern struct deed deed;
extern char timer_name[NAME_BYTES];
extern int64_t timer_at; /* 0: none */
void deed_start(const char *name);
/* Beside the one whose answer is awaited. */
void deed_start_unheard(const char *name);
/* It has ended: what it said it wants next. */
void deed_ended(void);
void timer_set(const char *text, size_t length);

void resize_terminal(uint16_t rows, uint16_t columns);
void owner_settled(struct client *client, const char *text, size_t length);
void owner_gone(struct client *client);
extern int quits;
extern int starter_is_gone; /* before it could say that the start is on record */
