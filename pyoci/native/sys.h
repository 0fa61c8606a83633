/* The cffi shim: calls that Python's posix module lacks. Every function returns >= 0, or -errno. */

int sys_openat2(int dirfd, const char *path, int flags, int mode, int resolve);
int sys_setns(int fd, int type);
int sys_namespace_type(int fd);
int sys_open_tree(int dirfd, const char *path, unsigned flags);
int sys_mount_setattr(int fd, unsigned flags, unsigned long long set, unsigned long long clear, unsigned long long propagation);
int sys_unshare(unsigned long long flags);
int sys_spawn(unsigned long long flags, int cgroup_fd, int exe_fd, int channel_fd, int channel_number,
              int raise_capabilities, int open, int *pidfd);
int sys_socketpair(int *pair);
int sys_send(int fd, const char *data, int length, const int *fds, int n_fds);
int sys_receive(int fd, char *data, int capacity, int *fds, int capacity_fds, int *n_fds);
int sys_unix_listen(const char *path, int backlog);
int sys_unix_connect(const char *path, int seqpacket, int timeout_ms);
int sys_unmount(const char *path);
int sys_prlimit(int pid, int resource, unsigned long long soft, unsigned long long hard);
int sys_poll(int *fds, const short *events, short *revents, int count, int timeout_ms);
int sys_pidfd_send_signal(int pidfd, int signal);
int sys_pidfd_open(int pid, int flags);
int sys_subreaper(int on);
int sys_is_subreaper(void);
int sys_renameat2(int olddir, const char *old, int newdir, const char *name, unsigned flags);
int sys_signals_open(unsigned long long *old_mask);
int sys_signals_close(int fd, unsigned long long old_mask);
int sys_signals_read(int fd, int *signal);
int sys_fsopen(const char *kind);
int sys_fsconfig(int fd, unsigned command, const char *key, const char *value);
int sys_fsmount(int fd, unsigned attributes);
int sys_move_mount(int fd, const char *target);
int sys_mount(const char *source, const char *target, const char *kind, unsigned long flags, const char *options);
