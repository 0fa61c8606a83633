/*
 * libseccomp, one function a call, no policy; and the two questions about seccomp that only the kernel can answer.
 * Source: the libseccomp man pages, seccomp(2).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libseccomp.h"

#define MOST_CONDITIONS 6

/* Copies text with its NUL. Returns its length, or -ENAMETOOLONG. */
static int copy_out(const char *text, char *into, int capacity_bytes)
{
	size_t length = strlen(text);

	if (capacity_bytes <= 0 || length >= (size_t)capacity_bytes)
		return -ENAMETOOLONG;
	memcpy(into, text, length + 1);
	return (int)length;
}

void libseccomp_version(uint32_t *three_numbers)
{
	const struct scmp_version *version = seccomp_version();

	three_numbers[0] = version->major;
	three_numbers[1] = version->minor;
	three_numbers[2] = version->micro;
}

int libseccomp_api_level(void)
{
	return (int)seccomp_api_get();
}

/* The file that the dynamic linker took the library from: the cache remembers which one made a filter. */
int libseccomp_library_path(char *path, int capacity_bytes)
{
	Dl_info info;

	if (!dladdr((void *)seccomp_init, &info) || !info.dli_fname)
		return -ENOENT;
	return copy_out(info.dli_fname, path, capacity_bytes);
}

uint32_t libseccomp_native_arch(void)
{
	return seccomp_arch_native();
}

/* 0 for a name that this libseccomp doesn't know. */
uint32_t libseccomp_arch_token(const char *name)
{
	return seccomp_arch_resolve_name(name);
}

/* __NR_SCMP_ERROR (-1) for an unknown name; below that, a pseudo number for a call that the architecture lacks or multiplexes. */
int libseccomp_resolve(uint32_t arch, const char *name)
{
	return seccomp_syscall_resolve_name_arch(arch, name);
}

int libseccomp_syscall_name(uint32_t arch, int number, char *name, int capacity_bytes)
{
	char *found = seccomp_syscall_resolve_num_arch(arch, number);
	int length;

	if (!found)
		return -ENOENT;
	length = copy_out(found, name, capacity_bytes);
	free(found);
	return length;
}

void *libseccomp_init(uint32_t default_action)
{
	return seccomp_init(default_action);
}

void libseccomp_release(void *filter)
{
	seccomp_release(filter);
}

int libseccomp_reset(void *filter, uint32_t default_action)
{
	return seccomp_reset(filter, default_action);
}

int libseccomp_set_attribute(void *filter, int attribute, uint32_t value)
{
	return seccomp_attr_set(filter, (enum scmp_filter_attr)attribute, value);
}

int libseccomp_get_attribute(void *filter, int attribute, uint32_t *value)
{
	return seccomp_attr_get(filter, (enum scmp_filter_attr)attribute, value);
}

int libseccomp_add_arch(void *filter, uint32_t arch)
{
	return seccomp_arch_add(filter, arch);
}

int libseccomp_remove_arch(void *filter, uint32_t arch)
{
	return seccomp_arch_remove(filter, arch);
}

/* Success frees the other. */
int libseccomp_merge(void *filter, void *other)
{
	return seccomp_merge(filter, other);
}

int libseccomp_has_arch(void *filter, uint32_t arch)
{
	int rc = seccomp_arch_exist(filter, arch);

	return rc == -EEXIST ? 0 : rc == 0 ? 1 : rc;
}

int libseccomp_prioritise(void *filter, int number, uint8_t priority)
{
	return seccomp_syscall_priority(filter, number, priority);
}

int libseccomp_add_rule(void *filter, uint32_t action, int number, int exactly, int n_conditions, const struct libseccomp_condition *conditions)
{
	struct scmp_arg_cmp comparisons[MOST_CONDITIONS];

	if (n_conditions < 0 || n_conditions > MOST_CONDITIONS)
		return -EINVAL;
	for (int i = 0; i < n_conditions; i++) {
		comparisons[i].arg = conditions[i].argument;
		comparisons[i].op = (enum scmp_compare)conditions[i].operator_number;
		comparisons[i].datum_a = conditions[i].value;
		comparisons[i].datum_b = conditions[i].value_two;
	}
	if (exactly)
		return seccomp_rule_add_exact_array(filter, action, number, (unsigned)n_conditions, comparisons);
	return seccomp_rule_add_array(filter, action, number, (unsigned)n_conditions, comparisons);
}

int libseccomp_export_bpf(void *filter, int fd)
{
	return seccomp_export_bpf(filter, fd);
}

int libseccomp_export_pfc(void *filter, int fd)
{
	return seccomp_export_pfc(filter, fd);
}

/* 1 if the running kernel knows the action, 0 if not. */
int libseccomp_kernel_has_action(uint32_t action)
{
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
		return 1;
	return errno == EOPNOTSUPP ? 0 : -errno;
}

/* 1 if the running kernel accepts the flags, 0 if not. It reads the flags before the (missing) program: EFAULT says that it liked them. */
int libseccomp_kernel_has_flags(uint32_t flags)
{
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL) == 0)
		return -EPROTO;
	return errno == EFAULT ? 1 : errno == EINVAL ? 0 : -errno;
}
