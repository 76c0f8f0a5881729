// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: giving up what the packet process needs only at its start.
#include "udp/sandbox.h"

#include "core/mem.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the filter of system calls needs this architecture's AUDIT_ARCH number"
#endif

int sandbox_drop_capabilities(struct err *e)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	// Ends at the first that this kernel does not know.
	for (unsigned long i = 0; prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++)
		;
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) < 0)
		return err_set(e, -errno, "dropping capabilities: %s", strerror(errno));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, -errno, "no_new_privs: %s", strerror(errno));
	return 0;
}

static const uint32_t allowed[] = {
	// packets
	SYS_read,
	SYS_write,
	SYS_writev,
	SYS_sendmmsg,
	SYS_recvmmsg,
	SYS_ppoll,
	SYS_sched_yield,
	SYS_clock_gettime,
#ifdef SYS_poll
	SYS_poll,
#endif
	// control
	SYS_accept4,
	SYS_recvmsg,
	SYS_sendmsg,
	SYS_recvfrom,
	SYS_sendto,
	SYS_getsockopt,
	SYS_setsockopt,
	SYS_close,
	// threads, memory, the end
	SYS_futex,
	SYS_mmap,
	SYS_munmap,
	SYS_mremap,
	SYS_mprotect,
	SYS_madvise,
	SYS_brk,
	SYS_rt_sigreturn,
	SYS_rt_sigprocmask,
	SYS_rt_sigaction,
	SYS_sigaltstack,
	SYS_getpid,
	SYS_gettid,
	SYS_tgkill,
	SYS_getrandom,
	SYS_restart_syscall,
	// A thread's first steps, which may come after the filter.
	SYS_rseq,
	SYS_set_robust_list,
	SYS_exit,
	SYS_exit_group,
};

int sandbox_filter_calls(struct err *e)
{
	enum { HEAD = 4, MAX = HEAD + 2 * ARRAY_SIZE(allowed) + 1 };
	struct sock_filter code[MAX];
	size_t count = 0;
	code[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						     offsetof(struct seccomp_data, arch));
	code[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
	code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						     offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		code[count++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
		code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	struct sock_fprog program = { .len = (unsigned short)count, .filter = code };
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
		return err_set(e, -errno, "the filter of system calls: %s", strerror(errno));
	return 0;
}
