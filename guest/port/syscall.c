/*
 * The one door to the kernel, and the delivery of signals.
 *
 * The kernel cannot interrupt compiled code. It sets a word; the guest looks at it after every system call and in
 * CHECK_FOR_INTERRUPTS, and then fetches and runs the handlers itself.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include "pglite_guest.h"

enum {
	CALL_SET_SIGNAL_WORD = 0x1000,
	CALL_FORK_ENTRY = 0x1001,
	CALL_NEXT_SIGNAL = 0x1002,
	CALL_SIGNAL_RETURN = 0x1003,
	CALL_COPY_NOTE = 0x1006,
	CALL_RT_SIGPROCMASK = 135,
	RESTART = -512
};

__attribute__((import_module("kernel"), import_name("syscall")))
long __kernel_syscall(long, long, long, long, long, long, long);

volatile uint32_t __guest_signal_word;

struct guest_signal {
	uint32_t signo;
	uint32_t handler;
	uint32_t flags;
	uint32_t old_mask[2];
	siginfo_t info;
};

void guest_deliver_signals(void)
{
	struct guest_signal next;
	int saved_errno = errno;

	while (__kernel_syscall(CALL_NEXT_SIGNAL, (long)&next, 0, 0, 0, 0, 0) == 1) {
		if (next.flags & SA_SIGINFO) {
			ucontext_t context;
			memset(&context, 0, sizeof context);
			((void (*)(int, siginfo_t *, void *))next.handler)(next.signo, &next.info, &context);
		} else {
			((void (*)(int))next.handler)(next.signo);
		}
		__kernel_syscall(CALL_SIGNAL_RETURN, (long)next.old_mask, 0, 0, 0, 0, 0);
	}
	errno = saved_errno;
}

long __guest_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long result;

	do {
		result = __kernel_syscall(nr, a, b, c, d, e, f);
		if (GUEST_SIGNAL_PENDING())
			guest_deliver_signals();
	} while (result == RESTART);
	return result;
}

void __guest_signals_init(void)
{
	__kernel_syscall(CALL_SET_SIGNAL_WORD, (long)&__guest_signal_word, 0, 0, 0, 0, 0);
}

int guest_copy_note(void *buffer, unsigned size)
{
	return __guest_syscall(CALL_COPY_NOTE, (long)buffer, size, 0, 0, 0, 0);
}

long __guest_fork_entry(void (*entry)(void *), void *argument)
{
	return __guest_syscall(CALL_FORK_ENTRY, (long)entry, (long)argument, 0, 0, 0, 0);
}

/* sigsetjmp(e, s) is a macro: LLVM's pass knows only functions named setjmp and longjmp. */
void __save_signal_mask(jmp_buf env)
{
	env->__fl = 1;
	__guest_syscall(CALL_RT_SIGPROCMASK, SIG_BLOCK, 0, (long)env->__ss, 8, 0, 0);
}

_Noreturn void siglongjmp(sigjmp_buf env, int value)
{
	if (env->__fl)
		__guest_syscall(CALL_RT_SIGPROCMASK, SIG_SETMASK, (long)env->__ss, 0, 8, 0, 0);
	longjmp(env, value);
}
