/* The plan's reader under libFuzzer: clang -fsanitize=fuzzer,address,undefined -I pyoci/native/init fuzz.c plan.c */
#include <stdlib.h>
#include <string.h>

#include "plan.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	unsigned char *bytes = malloc(size ? size : 1);
	struct plan plan;

	memcpy(bytes, data, size);
	plan_read(&plan, bytes, size);
	free(bytes);
	return 0;
}
