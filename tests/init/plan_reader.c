/*
 * Lets init's own reader read plans from standard input, alone: for each [u32 length][bytes] it answers [u32 error][u32 zero][u64 sum].
 * The sum goes over every argument of every INIT operation, so whatever the reader let through is touched as the operations would.
 * The bytes end at a page that can't be read: a step outside them is a SIGSEGV, on any machine and under an emulator, without a sanitizer.
 */
#include "plan.h"

#define ROOM (1 << 20)
#define PAGE 65536 /* the largest of arm64 */
#define PROT_READ_WRITE 3
#define MAP_PRIVATE_ANONYMOUS 0x22

static int read_all(void *to, size_t length)
{
	char *at = to;

	while (length) {
		long got = CALL3(read, 0, at, length);

		if (got <= 0)
			return 0;
		at += got;
		length -= (size_t)got;
	}
	return 1;
}

static uint64_t sum_text(uint64_t sum, const char *text)
{
	while (*text)
		sum = sum * 31 + (unsigned char)*text++;
	return sum * 31 + 7;
}

static uint64_t sum_argument(const struct plan *plan, uint64_t sum, char kind, const unsigned char *slot)
{
	uint32_t pair[2];
	uint64_t number;

	memcpy(pair, slot, sizeof pair);
	memcpy(&number, slot, sizeof number);
	switch (kind) {
	case 's':
		return number ? sum_text(sum, (const char *)(uintptr_t)number) : sum * 31 + 3;
	case 'l': {
		const char *word = list_first(plan, (struct list){ pair[0], pair[1] });

		for (uint32_t i = 0; i < pair[1]; i++, word = list_next(word))
			sum = sum_text(sum, word);
		return sum * 31 + pair[1];
	}
	case 'b':
		for (uint32_t i = 0; i < pair[1]; i++)
			sum = sum * 31 + plan->bytes[pair[0] + i];
		return sum * 31 + pair[1];
	}
	return sum * 31 + number;
}

static uint64_t sum_plan(const struct plan *plan)
{
	uint64_t sum = plan->count;

	for (uint32_t i = 0; i < plan->count; i++) {
		const char *kinds = op_arguments[plan->ops[i].kind];
		const unsigned char *slot = plan->bytes + plan->ops[i].args;

		sum = sum * 31 + plan->ops[i].kind;
		if (*kinds != 'I')
			continue;
		for (const char *kind = kinds + 1; *kind; kind++, slot += 8)
			sum = sum_argument(plan, sum, *kind, slot);
	}
	return sum;
}

__attribute__((noreturn)) void start(long *stack);
void start(long *stack)
{
	unsigned char *room = (unsigned char *)CALL6(mmap, 0, ROOM + PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
	uint32_t length;

	(void)stack;
	if (CALL3(mprotect, room + ROOM, PAGE, 0) < 0)
		exit_now(2);
	while (read_all(&length, sizeof length)) {
		/* The runtime's mapping is 8-byte aligned too; a length that is not may leave up to 7 readable bytes behind it. */
		unsigned char *bytes = room + ((ROOM - length) & ~7u);
		struct plan plan = { 0 };
		uint64_t answer[2] = { 0, 0 };

		if (length > ROOM || !read_all(bytes, length))
			exit_now(3);
		answer[0] = plan_read(&plan, bytes, length);
		if (answer[0] == PLAN_GOOD)
			answer[1] = sum_plan(&plan);
		if (CALL3(write, 1, answer, sizeof answer) != sizeof answer)
			exit_now(4);
	}
	exit_now(0);
}
