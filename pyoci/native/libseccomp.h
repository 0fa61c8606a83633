/*
 * The cffi shim over libseccomp 2.5.4 and newer, as an extension module of its own (pyoci.native._libseccomp): a verb that finds its filter in the cache
 * never maps the library. Every int function returns >= 0, or -errno, except libseccomp_resolve, whose negative numbers are libseccomp's own.
 */
#include <stdint.h>

struct libseccomp_condition {
	uint32_t argument;
	uint32_t operator_number;
	uint64_t value;
	uint64_t value_two;
};

void libseccomp_version(uint32_t *three_numbers);
int libseccomp_api_level(void);
int libseccomp_library_path(char *path, int capacity_bytes);

uint32_t libseccomp_native_arch(void);
uint32_t libseccomp_arch_token(const char *name);
int libseccomp_resolve(uint32_t arch, const char *name);
int libseccomp_syscall_name(uint32_t arch, int number, char *name, int capacity_bytes);

void *libseccomp_init(uint32_t default_action);
void libseccomp_release(void *filter);
int libseccomp_reset(void *filter, uint32_t default_action);
int libseccomp_set_attribute(void *filter, int attribute, uint32_t value);
int libseccomp_get_attribute(void *filter, int attribute, uint32_t *value);
int libseccomp_add_arch(void *filter, uint32_t arch);
int libseccomp_remove_arch(void *filter, uint32_t arch);
int libseccomp_merge(void *filter, void *other);
int libseccomp_has_arch(void *filter, uint32_t arch);
int libseccomp_prioritise(void *filter, int number, uint8_t priority);
int libseccomp_add_rule(void *filter, uint32_t action, int number, int exactly, int n_conditions, const struct libseccomp_condition *conditions);
int libseccomp_export_bpf(void *filter, int fd);
int libseccomp_export_pfc(void *filter, int fd);

int libseccomp_kernel_has_action(uint32_t action);
int libseccomp_kernel_has_flags(uint32_t flags);
