/* The loop.  `minidocker-monitor ID KEY=VALUE... -- COMMAND...`: started by MiniDocker, which made every descriptor that the keys name.
 * `minidocker-monitor --discard=COUNT` reads what a command's left-behind processes write, for nobody (relay.py). */
#include "monitor.h"

#define OWNER_NS (10000 * MS)
#define GUEST_NS (10000 * MS)
#define DEED_NS (120000 * MS)
enum { SIGCHLD_ = 17, TIOCSWINSZ_ = 0x5414, WNOHANG_ = 1 };
enum { AT_LISTEN, AT_SIGNALS, AT_CONSOLE, AT_PID, AT_STDIN, AT_STREAMS, AT_CLIENTS = AT_STREAMS + STREAMS, AT_END = AT_CLIENTS + CLIENTS };

struct options options = {.logs = "", .log_files = 1, .live = -1};
int has_ended, exit_status, quits, starter_is_gone;

static int listener = -1, signals = -1, console = -1, pid_pipe = -1;
static int64_t container_pid, creator_pid;
static int exit_signal;
static uint16_t window[4]; /* struct winsize: rows, columns, two unused */

/* After the end: who is to settle it, and whether that is done. */
static enum { RUNNING, DRAINING, SETTLING, SETTLED } phase;
static struct client *settler;
static int settler_is_gone;
static int64_t settling_since;

int64_t now_ns(void)
{
	struct {
		int64_t s, ns;
	} time = {0, 0};

	CALL2(clock_gettime, 1 /* CLOCK_MONOTONIC */, &time);
	return time.s * 1000000000LL + time.ns;
}

/* --- the command line */

static uint64_t number_of(const char *text)
{
	uint64_t number = 0;

	while (*text >= '0' && *text <= '9')
		number = number * 10 + (uint64_t)(*text++ - '0');
	return number;
}

static const char *value_of(const char *word, const char *key)
{
	return text_starts(word, key) ? word + strlen(key) : 0;
}

static void take_descriptor(int *to, const char *text)
{
	*to = (int)number_of(text);
	CALL3(fcntl, *to, 2 /* F_SETFD */, 1 /* FD_CLOEXEC */);
	CALL3(fcntl, *to, 4 /* F_SETFL */, (CALL3(fcntl, *to, 3 /* F_GETFL */, 0) | O_NONBLOCK));
}

static void take_option(const char *word)
{
	const char *value;
	int fd;

	if ((value = value_of(word, "out=")))
		take_descriptor(&streams[0].fd, value);
	else if ((value = value_of(word, "err=")))
		take_descriptor(&streams[1].fd, value);
	else if ((value = value_of(word, "in=")))
		take_descriptor(&stdin_fd, value);
	else if ((value = value_of(word, "listen=")))
		take_descriptor(&listener, value);
	else if ((value = value_of(word, "console=")))
		take_descriptor(&console, value);
	else if ((value = value_of(word, "pid=")))
		take_descriptor(&pid_pipe, value);
	else if ((value = value_of(word, "live=")))
		options.live = (int)number_of(value);
	else if ((value = value_of(word, "logs=")))
		options.logs = value;
	else if ((value = value_of(word, "log-max-bytes=")))
		options.log_max_bytes = number_of(value);
	else if ((value = value_of(word, "log-files=")))
		options.log_files = number_of(value);
	else if ((value = value_of(word, "stdin-once=")))
		options.stdin_once = (int)number_of(value);
	else if ((value = value_of(word, "timer="))) /* NAME MILLISECONDS */
		timer_set(value, strlen(value));
	else if ((value = value_of(word, "creator=")))
		creator_pid = (int64_t)number_of(value);
	else if ((value = value_of(word, "client="))) { /* FD:WANTS */
		take_descriptor(&fd, value);
		while (*value && *value != ':')
			value++;
		client_add(fd, *value ? (unsigned char)number_of(value + 1) : 0);
	}
}

static void take_options(char **argv)
{
	options.id = argv[1];
	for (char **word = argv + 2; *word; word++) {
		if (text_equal(*word, "--")) {
			options.deed = word + 1;
			return;
		}
		take_option(*word);
	}
}

static void prepare(char **argv, char **environ)
{
	uint64_t all = ~0ULL, child = 1ULL << (SIGCHLD_ - 1);
	long fd;

	for (struct client *client = clients; client < clients + CLIENTS; client++)
		client->fd = -1;
	streams_prepare();
	options.environ = environ;
	CALL4(rt_sigprocmask, 2 /* SIG_SETMASK */, &all, 0, 8);
	signals = (int)CALL4(signalfd4, -1, &child, 8, O_CLOEXEC | O_NONBLOCK);
	take_options(argv);
	CALL3(fcntl, options.live, 2 /* F_SETFD */, 1);
	log_open();
	/* Last of all to be killed for memory, where this is allowed; the container was not born of this process any more, and what is gets back its own. */
	fd = CALL4(openat, AT_FDCWD_, "/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC, 0);
	if (fd >= 0) {
		CALL3(read, fd, options.score, sizeof options.score - 1);
		if (CALL3(write, fd, "-999", 4) < 0)
			CALL3(write, fd, "0", 1);
		close_fd((int)fd);
	}
	CALL1(chdir, "/");
}

/* --- the terminal */

void resize_terminal(uint16_t rows, uint16_t columns)
{
	window[0] = rows;
	window[1] = columns;
	if (stdin_fd >= 0 && stdin_fd == streams[0].fd)
		CALL3(ioctl, stdin_fd, TIOCSWINSZ_, window);
}

/* The runtime sends the terminal's master; both directions go through it.  runc's docs/terminals.md */
static void take_console(void)
{
	struct {
		uint64_t length;
		int level, type, fd, padding;
	} control = {0};
	char name[256];
	struct {
		void *base;
		size_t length;
	} vector = {name, sizeof name};
	struct {
		void *name;
		unsigned name_length;
		void *vectors;
		size_t n_vectors;
		void *control;
		size_t control_length;
		int flags;
	} message = {0, 0, &vector, 1, &control, sizeof control, 0};
	long connection = CALL4(accept4, console, 0, 0, O_CLOEXEC);

	if (connection < 0)
		return;
	CALL3(recvmsg, connection, &message, 0x40000000 /* MSG_CMSG_CLOEXEC */);
	close_fd((int)connection);
	if (control.length < 20 || control.type != 1 /* SCM_RIGHTS */)
		return;
	close_fd(console);
	console = -1;
	CALL3(fcntl, control.fd, 4 /* F_SETFL */, O_RDWR | O_NONBLOCK);
	streams[0].fd = stdin_fd = control.fd;
	if (window[0] && window[1])
		resize_terminal(window[0], window[1]);
}

/* --- the container's end */

static void write_exit(void)
{
	struct {
		int64_t s, ns;
	} time = {0, 0};
	char text[160] = "";
	char *at = put_text(text, text + 64, "{\"status\":");
	long fd;

	CALL2(clock_gettime, 0 /* CLOCK_REALTIME */, &time);
	at = put_number(at, (uint64_t)exit_status);
	at = put_text(at, text + sizeof text, ",\"signal\":");
	at = put_number(at, (uint64_t)exit_signal);
	at = put_text(at, text + sizeof text, ",\"pid\":");
	at = put_number(at, (uint64_t)container_pid);
	at = put_text(at, text + sizeof text, ",\"time_ns\":");
	at = put_number(at, (uint64_t)(time.s * 1000000000LL + time.ns));
	at = put_text(at, text + sizeof text, "}\n");
	fd = CALL4(openat, options.live, ".exit", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (CALL3(write, fd, text, (size_t)(at - text)) == at - text)
		CALL5(renameat2, options.live, ".exit", options.live, "exit", 0);
	close_fd((int)fd);
}

static void container_ended(int status)
{
	exit_signal = status & 0x7f;
	exit_status = exit_signal ? 128 + exit_signal : status >> 8 & 0xff;
	has_ended = 1;
	write_exit();
	timer_at = 0;
	if (console >= 0)
		take_console(); /* so short a life that the terminal has not been fetched yet */
	streams_ended();
	phase = DRAINING;
	clients_make_room();
}

/* The end came while the creator still held the pid: kept until its name is known, among those of orphans, of which a container without a pid namespace may leave many. */
static struct {
	int64_t pid;
	int status;
} ended_early[64];

static void take_pid(void)
{
	char text[32];
	long count = CALL3(read, pid_pipe, text, sizeof text - 1);

	if (count == EAGAIN_ || count == EINTR_)
		return;
	if (count <= 0) { /* the start failed, and its starter tells why */
		if (!container_pid)
			exit_now(1);
		close_fd(pid_pipe);
		pid_pipe = -1;
		return;
	}
	text[count] = 0;
	container_pid = (int64_t)number_of(text);
	for (size_t index = 0; index < sizeof ended_early / sizeof *ended_early; index++)
		if (ended_early[index].pid == container_pid)
			container_ended(ended_early[index].status);
}

static void reap(void)
{
	static size_t next;
	char record[128];
	int status;
	long pid;

	while (CALL3(read, signals, record, sizeof record) > 0)
		;
	while ((pid = CALL4(wait4, -1, &status, WNOHANG_, 0)) > 0) {
		if (pid == container_pid && !has_ended) /* later it may be an orphan's, born with that pid */
			container_ended(status);
		else if (pid == deed.pid)
			deed_ended();
		else if (!container_pid && pid != creator_pid) {
			ended_early[next % 64].pid = pid;
			ended_early[next++ % 64].status = status;
		}
	}
}

/* --- after the end */

int is_settling(void)
{
	return phase == SETTLING;
}

int is_settled(void)
{
	return phase == SETTLED;
}

void owner_gone(struct client *client)
{
	if (client == settler)
		settler_is_gone = 1;
}

static void all_settled(void)
{
	phase = SETTLED;
	settler = 0;
	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0 && !client->is_told)
			client_tell_exit(client, 0, exit_status);
}

void owner_settled(struct client *client, const char *text, size_t length)
{
	if (phase != SETTLING || !client->settles)
		return;
	if (length)
		timer_set(text, length);
	all_settled();
}

/* Give the end to whoever claimed it last; to MiniDocker, started for it, where nobody is there. */
static void find_settler(void)
{
	settling_since = now_ns();
	settler_is_gone = 0;
	settler = clients_owner();
	if (settler)
		client_tell_exit(settler, 1, exit_status);
	else
		deed_start("exited");
}

static void advance(void)
{
	int64_t now = now_ns();

	if (phase == DRAINING && streams[0].fd < 0 && streams[1].fd < 0 && !clients_behind(WANTS_OUT | WANTS_ERR)) {
		phase = SETTLING;
		find_settler();
	}
	if (phase == SETTLING && settler && (settler_is_gone || now - settling_since > OWNER_NS))
		find_settler();
	if (phase == SETTLING && !settler && (!deed.pid || now - deed.since > DEED_NS))
		all_settled();
	if (starter_is_gone && container_pid && phase == RUNNING) {
		starter_is_gone = 0;
		deed_start("adopt");
	}
	if (timer_at && now >= timer_at && !deed.pid) {
		timer_at = 0;
		deed_start(timer_name);
	}
	if (phase == SETTLED && ((!timer_at && !deed.pid) || quits))
		exit_now(0);
}

/* --- the loop */

static int wait_ms(void)
{
	int64_t now = now_ns(), until = now + 3600000 * MS;

	if (timer_at && timer_at < until && !deed.pid)
		until = timer_at;
	for (struct stream *stream = streams; stream < streams + STREAMS; stream++)
		if (stream->retry_ns && stream->retry_ns < until)
			until = stream->retry_ns;
	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0 && client->behind && client->stuck_since + GUEST_NS < until)
			until = client->stuck_since + GUEST_NS;
	if (phase == SETTLING && settling_since + OWNER_NS < until)
		until = settling_since + OWNER_NS;
	return until <= now ? 0 : (int)((until - now + MS - 1) / MS);
}

static void watch(struct poll_fd *polled)
{
	int64_t now = now_ns();

	polled[AT_LISTEN] = (struct poll_fd){listener, POLLIN_, 0};
	polled[AT_SIGNALS] = (struct poll_fd){signals, POLLIN_, 0};
	polled[AT_CONSOLE] = (struct poll_fd){console, POLLIN_, 0};
	polled[AT_PID] = (struct poll_fd){pid_pipe, POLLIN_, 0};
	polled[AT_STDIN] = (struct poll_fd){stdin_waiting() ? stdin_fd : -1, POLLOUT_, 0};
	for (int index = 0; index < STREAMS; index++) {
		struct stream *stream = &streams[index];
		int reads = !clients_behind(stream->want) && stream->retry_ns <= now;

		polled[AT_STREAMS + index] = (struct poll_fd){reads ? stream->fd : -1, POLLIN_, 0};
	}
	for (int index = 0; index < CLIENTS; index++) {
		struct client *client = &clients[index];
		short events = client->behind ? POLLOUT_ : 0;

		/* Who gives input waits with all he says until stdin has taken what came before. */
		if (!(client->wants & WANTS_IN) || !stdin_waiting())
			events |= POLLIN_;
		polled[AT_CLIENTS + index] = (struct poll_fd){events ? client->fd : -1, events, 0};
	}
}

static void drop_stuck_guests(void)
{
	int64_t now = now_ns();

	for (struct client *client = clients; client < clients + CLIENTS; client++)
		if (client->fd >= 0 && client->behind && now - client->stuck_since > GUEST_NS && (!client->claimed || has_ended))
			client_drop(client);
}

static void serve_clients(const struct poll_fd *polled)
{
	for (int index = 0; index < CLIENTS; index++) {
		struct client *client = &clients[index];
		short found = polled[AT_CLIENTS + index].revents;

		if (client->fd < 0 || client->fd != polled[AT_CLIENTS + index].fd || !found)
			continue;
		if ((client->wants & WANTS_IN) && stdin_waiting()) {
			if (found & (POLLHUP_ | POLLERR_))
				client->behind = 0; /* gone; what it said last is still to be heard */
		} else if (found & (POLLIN_ | POLLHUP_ | POLLERR_)) {
			client_hear(client);
		}
		if (client->fd >= 0 && (found & POLLOUT_))
			client_retry(client);
	}
}

/* Who has come and what was said before anything was written, is heard before that is read: who attaches, then gives input, sees what it leads to. */
static void serve(const struct poll_fd *polled)
{
	if (polled[AT_LISTEN].revents)
		client_accept(listener);
	serve_clients(polled);
	for (int index = 0; index < STREAMS; index++) {
		struct stream *stream = &streams[index];

		if (stream->fd >= 0 && !clients_behind(stream->want) && (polled[AT_STREAMS + index].revents || has_ended))
			stream_read(stream);
	}
	if (polled[AT_STDIN].revents)
		stdin_flush();
	if (polled[AT_CONSOLE].revents)
		take_console();
	if (polled[AT_SIGNALS].revents)
		reap();
	if (pid_pipe >= 0 && polled[AT_PID].revents)
		take_pid();
}

__attribute__((noreturn, used)) void start(long *stack);
void start(long *stack)
{
	static struct poll_fd polled[AT_END];
	char **argv = (char **)(stack + 1);

	if (stack[0] < 2)
		exit_now(125);
	if (text_starts(argv[1], "--discard=")) {
		streams_discard(argv[1][strlen("--discard=")] == '2' ? 2 : 1);
		exit_now(0);
	}
	prepare(argv, argv + stack[0] + 1);
	reap(); /* who ended before SIGCHLD was held back told nobody */
	for (;;) {
		int64_t left;
		struct {
			int64_t s, ns;
		} time;

		watch(polled);
		left = phase == DRAINING && !clients_behind(WANTS_OUT | WANTS_ERR) ? 0 : wait_ms();
		time.s = left / 1000;
		time.ns = left % 1000 * MS;
		CALL5(ppoll, polled, AT_END, &time, 0, 8);
		serve(polled);
		drop_stuck_guests();
		advance();
	}
}
