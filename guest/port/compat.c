/*
 * Functions that PostgreSQL wants and musl lacks, and the stumps that musl's thread code refers to.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One instruction each, which the native side turns into its own memmove and memset. */
void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
	return __builtin_memcpy(to, from, length);
}

void *memmove(void *to, const void *from, size_t length)
{
	return __builtin_memmove(to, from, length);
}

void *memset(void *to, int value, size_t length)
{
	return __builtin_memset(to, value, length);
}

int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
	return -ENOSYS;
}

_Noreturn void __unmapself(void *base, size_t size)
{
	__builtin_trap();
}

long __syscall_cp_asm(void)
{
	return -ENOSYS;
}

int __set_thread_area(void *pointer)
{
	return 0;
}
