/* Memory and text without libc, and the entry point. */
#include "nolibc.h"

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	/* A barrier, or the compiler finds that this loop is memcpy and calls it. */
	while (length--) {
		*t++ = *f++;
		__asm__ volatile("" ::: "memory");
	}
	return to;
}

void *memset(void *to, int byte, size_t length)
{
	unsigned char *t = to;

	while (length--) {
		*t++ = (unsigned char)byte;
		__asm__ volatile("" ::: "memory");
	}
	return to;
}

size_t strlen(const char *text)
{
	size_t length = 0;

	while (text[length]) {
		length++;
		__asm__ volatile("" ::: "memory");
	}
	return length;
}

int text_equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

int text_starts(const char *text, const char *start)
{
	while (*start)
		if (*text++ != *start++)
			return 0;
	return 1;
}

char *put_number(char *to, uint64_t number)
{
	char digits[20];
	int count = 0;

	do
		digits[count++] = (char)('0' + number % 10);
	while (number /= 10);
	while (count)
		*to++ = digits[--count];
	*to = 0;
	return to;
}

char *put_text(char *to, const char *end, const char *text)
{
	while (*text && to + 1 < end)
		*to++ = *text++;
	*to = 0;
	return to;
}

#ifndef HOSTED
__attribute__((noreturn)) void start(long *stack);

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall start\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29,#0\n\tmov x30,#0\n\tmov x0,sp\n\tand sp,x0,#-16\n\tb start\n");
#endif
#endif
