/*
 * What guest programs may ask of the kernel beyond POSIX.
 */
#ifndef PGLITE_GUEST_H
#define PGLITE_GUEST_H

#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Set by the kernel, from any thread, when a signal waits for this process. */
extern volatile uint32_t __guest_signal_word;

/* Runs the handlers of waiting signals; errno is kept. */
void guest_deliver_signals(void);

/* One plain load; never hoisted out of a loop, as an ordinary volatile load could be after translation. */
#define GUEST_SIGNAL_PENDING() (__atomic_load_n(&__guest_signal_word, __ATOMIC_RELAXED) != 0)

/*
 * A copy-on-write child that runs entry(argument) on a fresh native stack. The caller's frames in linear memory stay
 * valid in the child. Returns the child's pid, or -1 with errno.
 */
pid_t fork_entry(void (*entry)(void *), void *argument);

/* Sent to a process that handles it when it is a copy and begins to run as such; cannot be blocked. */
enum { GUEST_SIGTHAW = 64 };

/* What the embedding program tells the processes of a copy; its length, which may be more than size, 0 without any. */
int guest_copy_note(void *buffer, unsigned size);

/* Bytes of native stack in use. */
__attribute__((import_module("kernel"), import_name("stack_depth"))) uint32_t guest_native_stack_depth(void);

#ifdef __cplusplus
}
#endif
#endif
