/*
 * How a guest begins: the work of musl's start files and __libc_start_main, without a dynamic linker, auxiliary
 * vector or threads.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <elf.h>
#include "libc.h"
#include "pthread_impl.h"

enum { GUEST_PAGE_SIZE = 4096 };

uintptr_t __wasm_tp;
static char thread_block[1024] __attribute__((aligned(64)));

extern char **__environ;
extern char *__progname, *__progname_full;
void __guest_signals_init(void);
void __wasm_call_ctors(void);
/* Hosted compilers give a main with parameters this name, so that one without can be called like it; configure's tests are such. */
weak int main_with_arguments(int, char **) __asm__("__main_argc_argv");
weak int plain_main(int, char **) __asm__("main");
long __guest_fork_entry(void (*)(void *), void *);

_Static_assert(sizeof(struct pthread) <= sizeof thread_block, "the thread block holds a struct pthread");

/* musl's malloc looks for AT_RANDOM here and does without when it is missing */
static size_t auxiliary_vector[] = {AT_NULL, 0};

static void init_thread(void)
{
	struct pthread *self = (struct pthread *)thread_block;

	__wasm_tp = (uintptr_t)self + sizeof *self;
	self->self = self;
	self->tid = __syscall(SYS_gettid);
	self->locale = &libc.global_locale;
	self->robust_list.head = &self->robust_list.head;
	self->next = self->prev = self;
	self->detach_state = DT_JOINABLE;
}

__attribute__((export_name("guest_start")))
void guest_start(int argc, char **argv, char **envp)
{
	__environ = envp;
	libc.page_size = GUEST_PAGE_SIZE;
	libc.auxv = auxiliary_vector;
	__progname_full = __progname = argv[0] ? argv[0] : "";
	for (char *p = __progname; *p; p++)
		if (*p == '/')
			__progname = p + 1;
	init_thread();
	__guest_signals_init();
	__wasm_call_ctors();
	exit((main_with_arguments ? main_with_arguments : plain_main)(argc, argv));
}

__attribute__((export_name("guest_fork_child")))
void guest_fork_child(void (*entry)(void *), void *argument)
{
	__pthread_self()->tid = __syscall(SYS_gettid);
	entry(argument);
	_exit(0);
}

pid_t fork_entry(void (*entry)(void *), void *argument)
{
	return __syscall_ret(__guest_fork_entry(entry, argument));
}
