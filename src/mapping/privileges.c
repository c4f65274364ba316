/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping/privileges.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

/* What serving, logging, the control socket and the C library's threads and memory need. */
static const int allowed[] = {
	/* files: chunks, the datastore opened again */
	SCMP_SYS(close), SCMP_SYS(read), SCMP_SYS(pread64),
	SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(stat), SCMP_SYS(statx), SCMP_SYS(lseek),
	SCMP_SYS(fcntl), SCMP_SYS(flock), SCMP_SYS(getdents64), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
	/* answers: FUSE, events, log */
	SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(splice), SCMP_SYS(vmsplice),
	SCMP_SYS(pipe2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(restart_syscall),
	SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(getpeername),
	/* control socket, syslog */
	SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(sendto),
	SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(unlinkat),
	/* memory */
	SCMP_SYS(brk), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect),
	SCMP_SYS(madvise), SCMP_SYS(mlock), SCMP_SYS(mlock2), SCMP_SYS(munlock), SCMP_SYS(getrandom),
	/* threads, time, signals */
	SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(futex),
	SCMP_SYS(membarrier), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(prctl),
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
	SCMP_SYS(getegid), SCMP_SYS(setsid), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(tgkill), SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* To connect again: names looked up by the C library, sockets of its and of the network library. */
static const int allowed_remote[] = {
	SCMP_SYS(bind), SCMP_SYS(getsockname), SCMP_SYS(sendmmsg), SCMP_SYS(socketpair),
	SCMP_SYS(eventfd2), SCMP_SYS(uname), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
};

static int allow(scmp_filter_ctx filter, const int *calls, size_t n)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return r;
}

static int allow_remote(scmp_filter_ctx filter)
{
	int r = allow(filter, allowed_remote, ARRAY_LEN(allowed_remote));
	const scmp_datum_t of_sockets[] = { FIONREAD, FIONBIO };
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(of_sockets); i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_EQ, of_sockets[i]));
	return r;
}

/* For all threads.  A call that is not in the list fails with EPERM: an error is better than death. */
static int filter_system_calls(enum privileges_need need, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return err_set(err, -ENOMEM, "no memory for the system call filter");
	int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r == 0)
		r = allow(filter, allowed, ARRAY_LEN(allowed));
	if (r == 0 && need == PRIVILEGES_REMOTE)
		r = allow_remote(filter);
	/* Even where it stays root: only to be read, nothing made. */
	const scmp_datum_t writing = O_ACCMODE | O_CREAT | O_TRUNC;
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, writing, O_RDONLY));
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	/* A kernel without seccomp still serves. */
	if (r == 0 || r == -EINVAL || r == -ENOSYS || r == -ECANCELED)
		return 0;
	return err_errno(err, r, "cannot set the system call filter");
}

int privileges_keep(uint64_t capabilities, struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
	for (size_t i = 0; i < ARRAY_LEN(data); i++)
		data[i].effective = data[i].permitted = (uint32_t)(capabilities >> (32 * i));
	if (syscall(SYS_capset, &header, data) < 0)
		return err_errno(err, -errno, "cannot give up capabilities");
	return 0;
}

int privileges_begin(uid_t uid, struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, -errno, "cannot give up new privileges");
	return geteuid() == 0 && uid == 0 ? privileges_keep(0, err) : 0;
}

void privileges_service_user(uid_t *ret_uid, gid_t *ret_gid)
{
	const char *const names[] = { "pbsmap", "nobody" };
	*ret_uid = geteuid();
	*ret_gid = getegid();
	for (size_t i = 0; *ret_uid == 0 && i < ARRAY_LEN(names); i++) {
		const struct passwd *user = getpwnam(names[i]);
		if (!user)
			continue;
		*ret_uid = user->pw_uid;
		*ret_gid = user->pw_gid;
	}
}

/* The C library does it for every thread, and the kernel takes the capabilities. */
static int become(uid_t uid, gid_t gid, struct err *err)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return err_errno(err, -errno, "cannot become user %u", (unsigned)uid);
	return 0;
}

int privileges_drop(uid_t uid, gid_t gid, enum privileges_need need, struct err *err)
{
	const struct rlimit none = { 0 };
	if (geteuid() == 0 && uid != 0) {
		int r = become(uid, gid, err);
		if (r < 0)
			return r;
	}
	(void) setrlimit(RLIMIT_CORE, &none);
	if (IS_SANITIZED) /* sanitizers trace their own process and map what they like */
		return 0;
	(void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return filter_system_calls(need, err);
}
