/*
 * The plan's reader as an ordinary program, for sanitizers and other machines: reads u32 length and that many bytes,
 * again and again; prints the verdict of each plan, and for a good one what a walk over every argument saw.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

static unsigned long walk(const struct plan *plan)
{
	unsigned long sum = 0;

	for (uint32_t i = 0; i < plan->count; i++) {
		const char *kinds = op_arguments[plan->ops[i].kind];
		const unsigned char *slot = plan->bytes + plan->ops[i].args;

		for (const char *kind = kinds + 1; *kind; kind++, slot += 8) {
			const char *text;
			struct list list;
			struct blob blob;

			switch (*kind) {
			case 's':
				if (*kinds != 'I')
					break;
				memcpy(&text, slot, sizeof text);
				sum += text ? strlen(text) : 0;
				break;
			case 'l':
				memcpy(&list, slot, sizeof list);
				text = list_first(plan, list);
				for (uint32_t word = 0; word < list.count; word++, text = list_next(text))
					sum += strlen(text);
				break;
			case 'b':
				memcpy(&blob, slot, sizeof blob);
				for (uint32_t at = 0; at < blob.length; at++)
					sum += plan->bytes[blob.offset + at];
				break;
			}
		}
	}
	return sum;
}

int main(void)
{
	uint32_t length;

	while (fread(&length, sizeof length, 1, stdin) == 1) {
		/* Exactly as large as the bytes, so that a sanitizer sees the first one behind them. */
		unsigned char *bytes = malloc(length ? length : 1);
		struct plan plan;
		enum plan_error error;

		if (length && fread(bytes, length, 1, stdin) != 1)
			return 2;
		error = plan_read(&plan, bytes, length);
		printf("%d %lu\n", (int)error, error == PLAN_GOOD ? walk(&plan) : 0);
		fflush(stdout);
		free(bytes);
	}
	return 0;
}
