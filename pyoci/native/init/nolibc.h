/*
 * The floor that init stands on: system calls and a few words of memory and text. No libc: what a waiting container
 * costs is the pages of this program, and nothing here can read a locale, a resolver or an environment.
 * Calls return >= 0, or -errno.
 */
#pragma once

#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef __NR_openat2
#error "the headers are older than Linux 5.6"
#endif
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif

#define PATH_MAX 4096
#define AT_FDCWD_ AT_FDCWD

#if defined(__x86_64__)
static inline long call6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long call6(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#else
#error "init knows x86-64 and arm64"
#endif

#define ARG(value) _Generic((value), \
	const char *: (long)(uintptr_t)(value), char *: (long)(uintptr_t)(value), \
	void *: (long)(uintptr_t)(value), const void *: (long)(uintptr_t)(value), \
	default: (long)(uintptr_t)(value))
#define CALL6(name, a, b, c, d, e, f) call6(__NR_##name, ARG(a), ARG(b), ARG(c), ARG(d), ARG(e), ARG(f))
#define CALL5(name, a, b, c, d, e) CALL6(name, a, b, c, d, e, 0)
#define CALL4(name, a, b, c, d) CALL6(name, a, b, c, d, 0, 0)
#define CALL3(name, a, b, c) CALL6(name, a, b, c, 0, 0, 0)
#define CALL2(name, a, b) CALL6(name, a, b, 0, 0, 0, 0)
#define CALL1(name, a) CALL6(name, a, 0, 0, 0, 0, 0)
#define CALL0(name) CALL6(name, 0, 0, 0, 0, 0, 0)

void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memset(void *to, int byte, size_t length);
size_t strlen(const char *text);
int text_equal(const char *a, const char *b);
int text_starts(const char *text, const char *start);
/* Write the number in decimal at `to`, which has room for 21 bytes; returns the end, which holds a NUL. */
char *put_number(char *to, uint64_t number);
/* Copy text up to `end` (exclusive), always NUL-terminated; returns the new end. */
char *put_text(char *to, const char *end, const char *text);

__attribute__((noreturn)) static inline void exit_now(int status)
{
	for (;;)
		CALL1(exit_group, status);
}

static inline void close_fd(int fd)
{
	if (fd >= 0)
		CALL1(close, fd);
}

static inline void close_cleanup(int *fd)
{
	close_fd(*fd);
}

/* A descriptor that closes with its scope. */
#define SCOPED_FD __attribute__((cleanup(close_cleanup))) int
