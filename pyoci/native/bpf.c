/*
 * The cffi shim, second part: bpf(2) as the device controller of cgroup v2 needs it; one command a function, no policy.
 * Source: bpf(2), include/uapi/linux/bpf.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf.h"

static int bpf_call(enum bpf_cmd command, union bpf_attr *attr)
{
	long value = syscall(SYS_bpf, command, attr, sizeof *attr);

	return value < 0 ? -errno : (int)value;
}

/* Load `count` instructions of 8 bytes. Returns the program's descriptor (the kernel makes it close-on-exec). */
int sys_bpf_device_load(const char *instructions, int count)
{
	static const char license[] = "GPL";
	union bpf_attr attr;
	int fd = -EAGAIN;

	memset(&attr, 0, sizeof attr);
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uintptr_t)instructions;
	attr.insn_cnt = (uint32_t)count;
	attr.license = (uintptr_t)license;
	memcpy(attr.prog_name, "pyoci_devices", sizeof "pyoci_devices");
	/* EAGAIN: the verifier was interrupted by a signal. */
	for (int tries = 0; tries < 5 && fd == -EAGAIN; tries++)
		fd = bpf_call(BPF_PROG_LOAD, &attr);
	return fd;
}

/* Attach beside other programs; replaced_fd >= 0: in the place of that one, with no moment between. */
int sys_bpf_device_attach(int cgroup_fd, int program_fd, int replaced_fd)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)program_fd;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (replaced_fd >= 0) {
		attr.attach_flags |= BPF_F_REPLACE;
		attr.replace_bpf_fd = (uint32_t)replaced_fd;
	}
	return bpf_call(BPF_PROG_ATTACH, &attr);
}

int sys_bpf_device_detach(int cgroup_fd, int program_fd)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)program_fd;
	attr.attach_type = BPF_CGROUP_DEVICE;
	return bpf_call(BPF_PROG_DETACH, &attr);
}

/* Fill `ids` with the programs attached to this very cgroup. Returns their number; -ENOSPC if there are more than `capacity`. */
int sys_bpf_device_query(int cgroup_fd, unsigned int *ids, int capacity)
{
	union bpf_attr attr;
	int error;

	memset(&attr, 0, sizeof attr);
	attr.query.target_fd = (uint32_t)cgroup_fd;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = (uintptr_t)ids;
	attr.query.prog_cnt = (uint32_t)capacity;
	error = bpf_call(BPF_PROG_QUERY, &attr);
	return error < 0 ? error : (int)attr.query.prog_cnt;
}

int sys_bpf_program_by_id(unsigned int id)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.prog_id = id;
	return bpf_call(BPF_PROG_GET_FD_BY_ID, &attr);
}
