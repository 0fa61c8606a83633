/* Starting MiniDocker for what takes a decision: `COMMAND... NAME ID`.  What it prints, "NAME MILLISECONDS", is what it wants to be started for next. */
#include "monitor.h"

#define LONGEST_MS (1LL << 40) /* 35 years, in nanoseconds still far from what 64 bits hold */
enum { SIGCHLD_ = 17, SIG_SETMASK_ = 2, WORDS = 64 };

struct deed deed = {.reply = -1};
char timer_name[NAME_BYTES];
int64_t timer_at;

static void become(const char *name, int output)
{
	char *argv[WORDS];
	uint64_t none = 0;
	int count = 0, null, errors, score;

	while (options.deed[count] && count < WORDS - 3) {
		argv[count] = options.deed[count];
		count++;
	}
	argv[count++] = (char *)(uintptr_t)name;
	argv[count++] = (char *)(uintptr_t)options.id;
	argv[count] = 0;
	null = (int)CALL4(openat, AT_FDCWD_, "/dev/null", O_RDWR | O_CLOEXEC, 0);
	errors = (int)CALL4(openat, options.live, "errors", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	CALL3(dup3, null, 0, 0);
	CALL3(dup3, output >= 0 ? output : null, 1, 0);
	CALL3(dup3, errors >= 0 ? errors : null, 2, 0);
	score = (int)CALL4(openat, AT_FDCWD_, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);
	if (*options.score)
		CALL3(write, score, options.score, strlen(options.score));
	CALL4(rt_sigprocmask, SIG_SETMASK_, &none, 0, 8);
	CALL3(execve, argv[0], argv, options.environ);
	exit_now(127);
}

/* Start one.  Returns its pid, or -errno. */
static long spawn(const char *name, int output)
{
	long pid = CALL5(clone, SIGCHLD_, 0, 0, 0, 0);

	if (pid == 0)
		become(name, output);
	return pid;
}

void deed_start(const char *name)
{
	int pair[2];
	long pid;

	close_fd(deed.reply);
	deed = (struct deed){.reply = -1};
	if (!options.deed || CALL2(pipe2, pair, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	pid = spawn(name, pair[1]);
	close_fd(pair[1]);
	if (pid < 0) {
		close_fd(pair[0]);
		return;
	}
	deed = (struct deed){.pid = pid, .reply = pair[0], .since = now_ns(), .is_after_end = has_ended};
}

void deed_start_unheard(const char *name)
{
	if (options.deed)
		spawn(name, -1);
}

void timer_set(const char *text, size_t length)
{
	size_t at = 0;
	int64_t wait_ms = 0;

	timer_at = 0;
	while (at < length && text[at] > ' ' && at + 1 < NAME_BYTES) {
		timer_name[at] = text[at];
		at++;
	}
	timer_name[at] = 0;
	if (!at || at >= length || text[at] != ' ')
		return;
	for (at++; at < length && text[at] >= '0' && text[at] <= '9' && wait_ms < LONGEST_MS; at++)
		wait_ms = wait_ms * 10 + (text[at] - '0');
	timer_at = now_ns() + (wait_ms < LONGEST_MS ? wait_ms : LONGEST_MS) * MS;
}

void deed_ended(void)
{
	char text[64];
	long count = CALL3(read, deed.reply, text, sizeof text);
	int counts = deed.is_after_end == has_ended; /* what a health check wants of a container that has ended meanwhile, nobody does */

	close_fd(deed.reply);
	deed = (struct deed){.reply = -1};
	if (count > 0 && counts)
		timer_set(text, (size_t)count);
}
