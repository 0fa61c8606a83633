/* bpf(2) for the device controller of cgroup v2. Every function returns >= 0, or -errno. */

int sys_bpf_device_load(const char *instructions, int count);
int sys_bpf_device_attach(int cgroup_fd, int program_fd, int replaced_fd);
int sys_bpf_device_detach(int cgroup_fd, int program_fd);
int sys_bpf_device_query(int cgroup_fd, unsigned int *ids, int capacity);
int sys_bpf_program_by_id(unsigned int id);
