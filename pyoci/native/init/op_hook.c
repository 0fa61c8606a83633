/* A hook in the container's namespaces: state on its stdin, both its streams captured, a time-out for its whole group. */
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/wait.h>

#include "init.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
enum { CAPTURE = 1800 };

struct siginfo_part {
	int signal, error, code, padding, pid, uid, status;
	char rest[100];
};

struct running {
	int pidfd, pid, input, output, errors;
	const char *state[3]; /* what is still to be written to its input */
	int part;             /* the first of them that is not empty */
};

static int open_pipe(struct machine *m, int pair[2])
{
	long error = CALL2(pipe2, pair, O_CLOEXEC);

	return error < 0 ? fail(m, STEP_PIPE, error, NULL) : 0;
}

static const char **words_of(struct machine *m, struct list list)
{
	const char **words = (const char **)(void *)grab(m, (list.count + 1) * sizeof(char *));
	const char *word = list_first(&m->plan, list);

	if (!words)
		return NULL;
	for (uint32_t i = 0; i < list.count; i++, word = list_next(word))
		words[i] = word;
	words[list.count] = NULL;
	return words;
}

/* The child: never returns. A failure to execute is told by its status, 127, and by errno on its stderr pipe as "\0N". */
__attribute__((noreturn)) static void become_hook(struct machine *m, const char *path, const char **argv, const char **envp,
						  const int fds[3])
{
	char note[24] = { 0 };
	long error;

	CALL0(setsid);
	if (m->root >= 0)
		CALL1(fchdir, m->root);
	for (int fd = 0; fd < 3; fd++) {
		error = CALL3(dup3, fds[fd], fd, 0);
		if (error < 0)
			goto out;
	}
	CALL3(close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
	error = CALL3(execve, path, argv, envp);
out:
	put_number(note + 1, (uint64_t)-error);
	CALL3(write, fds[2], note, 1 + strlen(note + 1));
	exit_now(127);
}

static int start_hook(struct machine *m, const struct op_hook_inside *a, struct running *hook)
{
	const char **argv = words_of(m, a->args_), **envp = words_of(m, a->env_);
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	long pid;

	if (!argv || !envp || open_pipe(m, in) < 0 || open_pipe(m, out) < 0 || open_pipe(m, err) < 0)
		return -1;
	pid = CALL5(clone, CLONE_PIDFD | 17 /* SIGCHLD */, 0, &hook->pidfd, 0, 0);
	if (pid < 0)
		return fail(m, STEP_CLONE, pid, a->path_);
	if (pid == 0)
		become_hook(m, a->path_, argv, envp, (int[]){ in[0], out[1], err[1] });
	hook->pid = (int)pid;
	close_fd(in[0]);
	close_fd(out[1]);
	close_fd(err[1]);
	hook->input = in[1];
	CALL3(fcntl, hook->input, F_SETFL, O_NONBLOCK);
	hook->output = out[0];
	hook->errors = err[0];
	/* A hook of the container's may open its own pipe through /proc and read from it what we were told of. */
	CALL3(fcntl, hook->output, F_SETFL, O_NONBLOCK);
	CALL3(fcntl, hook->errors, F_SETFL, O_NONBLOCK);
	return 0;
}

/* Write what the pipe takes, which may be less than the state. A hook need not read its input: EPIPE is no failure. */
static void feed(struct running *hook)
{
	while (hook->input >= 0) {
		const char **rest = &hook->state[hook->part];
		long written = CALL3(write, hook->input, *rest, strlen(*rest));

		if (written == -EAGAIN || written == -EINTR)
			return;
		if (written > 0)
			*rest += written;
		if (written < 0 || (!**rest && ++hook->part == 3)) {
			close_fd(hook->input);
			hook->input = -1;
		}
	}
}

static uint64_t now_ms(void)
{
	int64_t time[2] = { 0, 0 };

	CALL2(clock_gettime, 1 /* CLOCK_MONOTONIC */, time);
	return (uint64_t)time[0] * 1000 + (uint64_t)time[1] / 1000000;
}

/* Read what is there; past the capacity it is thrown away, so that the hook can't block on it. */
static int drain(int fd, char *buffer, size_t *length)
{
	char waste[512];
	bool keep = *length < CAPTURE;
	long count = CALL3(read, fd, keep ? buffer + *length : waste, keep ? CAPTURE - *length : sizeof waste);

	if (count > 0 && keep)
		*length += (size_t)count;
	return count > 0 || count == -EINTR || count == -EAGAIN;
}

/* Follow the hook until it ended; what a child of it still holds open is not waited for. 0, or -ETIMEDOUT. */
static int follow(struct running *hook, int64_t timeout_s, char *out, size_t *out_length, char *err, size_t *err_length)
{
	uint64_t end_ms = now_ms() + (uint64_t)timeout_s * 1000;
	bool ended = false;

	for (;;) {
		struct pollfd polled[4] = { { hook->pidfd, POLLIN, 0 }, { hook->output, POLLIN, 0 }, { hook->errors, POLLIN, 0 },
					    { hook->input, POLLOUT, 0 } };
		int64_t time[2] = { 0, 0 };
		long ready;

		if (!ended && timeout_s > 0) {
			uint64_t now = now_ms();

			if (now >= end_ms)
				return -ETIMEDOUT;
			time[0] = (int64_t)((end_ms - now) / 1000);
			time[1] = (int64_t)((end_ms - now) % 1000) * 1000000;
		}
		ready = CALL5(ppoll, polled, 4, ended || timeout_s > 0 ? time : NULL, NULL, 8);
		if (ready == -EINTR)
			continue;
		if (polled[3].revents)
			feed(hook);
		if (polled[1].revents && !drain(hook->output, out, out_length)) {
			close_fd(hook->output);
			hook->output = -1;
		}
		if (polled[2].revents && !drain(hook->errors, err, err_length)) {
			close_fd(hook->errors);
			hook->errors = -1;
		}
		if (ended && !polled[1].revents && !polled[2].revents)
			return 0;
		if (polled[0].revents)
			ended = true;
	}
}

/* The errno that become_hook left, 0 if the hook itself wrote this. */
static long exec_error(const char *err, size_t length)
{
	long number = 0;

	if (length < 2 || length > 5 || *err)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if (err[i] < '0' || err[i] > '9')
			return 0;
		number = number * 10 + (err[i] - '0');
	}
	return number;
}

static int judge(struct machine *m, struct running *hook, int timed_out, const char *text, long not_executed)
{
	struct siginfo_part info = { 0 };
	long error;

	if (timed_out)
		CALL2(kill, -hook->pid, 9);
	error = CALL5(waitid, P_PIDFD, hook->pidfd, &info, WEXITED, NULL);
	close_fd(hook->pidfd);
	if (timed_out)
		return fail(m, STEP_HOOK_TIME_OUT, 0, text);
	if (error < 0)
		return fail(m, STEP_WAIT, error, NULL);
	if (not_executed && info.code == 1 && info.status == 127)
		return fail(m, STEP_EXECVE, not_executed, NULL);
	if (info.code != 1 /* CLD_EXITED */)
		return fail_item(m, STEP_HOOK_SIGNAL, 0, (uint32_t)info.status, text);
	return info.status ? fail_item(m, STEP_HOOK_EXIT, 0, (uint32_t)info.status, text) : 0;
}

static void on_broken_pipe(unsigned long action)
{
	/* The kernel's struct sigaction: handler, flags, restorer, mask. */
	const unsigned long word[4] = { action, 0, 0, 0 };

	CALL4(rt_sigaction, 13 /* SIGPIPE */, word, NULL, 8);
}

/* follow, with SIGPIPE ignored meanwhile: there may be no reader. */
static int feed_and_follow(struct running *hook, int64_t timeout_s, char *out, size_t *out_length, char *err, size_t *err_length)
{
	int timed_out;

	on_broken_pipe(1 /* SIG_IGN */);
	timed_out = follow(hook, timeout_s, out, out_length, err, err_length);
	on_broken_pipe(0 /* SIG_DFL */);
	close_fd(hook->input);
	close_fd(hook->output);
	close_fd(hook->errors);
	return timed_out;
}

OPERATION(hook_inside)
{
	char pid[24];
	struct running hook = { -1, -1, -1, -1, -1, { a->head_, pid, a->tail_ }, 0 };
	char *text = grab(m, 2 * CAPTURE + 64);
	char *out = grab(m, 2 * CAPTURE + 64);
	char *err = out + CAPTURE + 1;
	size_t out_length = 0, err_length = 0;
	int timed_out;
	char *to;

	put_number(pid, (uint64_t)CALL0(getpid));
	if (!text || !out || start_hook(m, a, &hook) < 0)
		return -1;
	timed_out = feed_and_follow(&hook, a->timeout_s_, out, &out_length, err, &err_length);
	out[out_length] = err[err_length] = 0;
	to = put_text(text, text + 2 * CAPTURE + 64, "stdout: ");
	to = put_text(to, text + 2 * CAPTURE + 64, out);
	to = put_text(to, text + 2 * CAPTURE + 64, ", stderr: ");
	put_text(to, text + 2 * CAPTURE + 64, err);
	return judge(m, &hook, timed_out, text, exec_error(err, err_length));
}
