/*
 * What the translated C of a module sees of its runtime: wabt's declarations, with exception state kept in the
 * process's context instead of thread-local variables. Included before the generated code (-include).
 */
#ifndef PGLITE_RT_H
#define PGLITE_RT_H

#define WASM_RT_USE_MMAP 1
#define WASM_RT_MEMCHECK_GUARD_PAGES 1
#define WASM_RT_SKIP_SIGNAL_RECOVERY 1
#define WASM_RT_NONCONFORMING_UNCHECKED_STACK_EXHAUSTION 1
/* a dead load need not trap */
#define WASM_RT_NONCONFORMING_ALLOW_OOB_READ_ELIMINATION 1

#include "wasm-rt.h"
#include "wasm-rt-exceptions.h"
#include "pglite_module.h"

/* plain buffers instead of the C library's: see switch.c */
__attribute__((returns_twice)) int pgl_setjmp(void **buffer);
WASM_RT_NO_RETURN void pgl_longjmp(void **buffer, int value);
#undef wasm_rt_try
#define wasm_rt_try(target) ((target).initialized = true, pgl_setjmp((void **)(target).buffer))

/* the generated code always has `instance` at hand */
#define PGL_BASE(instance) ((uint8_t *)(instance) + PGL_INSTANCE_SPAN)
#define PGL_CONTEXT(instance) ((struct pgl_context *)((char *)(instance) + PGL_INSTANCE_SPAN - PGL_CONTEXT_SPAN))

#define wasm_rt_get_unwind_target() ((wasm_rt_jmp_buf *)PGL_CONTEXT(instance)->unwind_target)
#define wasm_rt_set_unwind_target(target) (PGL_CONTEXT(instance)->unwind_target = (target))
#define wasm_rt_exception_tag() (PGL_CONTEXT(instance)->exception_tag)
#define wasm_rt_exception_size() (PGL_CONTEXT(instance)->exception_size)
#define wasm_rt_exception() ((void *)PGL_CONTEXT(instance)->exception)
#define wasm_rt_load_exception(tag, size, values) pgl_load_exception(PGL_CONTEXT(instance), tag, size, values)
#define wasm_rt_throw() pgl_throw(PGL_CONTEXT(instance))

void pgl_load_exception(struct pgl_context *context, const void *tag, uint32_t size, const void *values);
WASM_RT_NO_RETURN void pgl_throw(struct pgl_context *context);

/* Pages of all hosts that the system offers are no larger than a wasm page, and multiples of this. */
#define PGL_PAGE_ALIGNED __attribute__((aligned(4096)))

/* While a module is instantiated: struct pgl_module's present() and its state, or NULL. */
extern _Thread_local pgl_present_fn *pgl_present;
extern _Thread_local void *pgl_present_state;

/* Writes a data segment, less what is there already. */
static inline void pgl_load_data(void *to, uint32_t offset, const uint8_t *data, size_t size)
{
	size_t done = pgl_present ? pgl_present(pgl_present_state, offset, data, size) : 0;

	memcpy((char *)to + done, data + done, size - done);
}

/* Bulk memory operations, checked against the one size that memory has. */
static inline void pgl_memory_fill(uint8_t *base, uint64_t to, uint32_t value, uint64_t length)
{
	if (UNLIKELY(to + length > PGL_MEMORY_SIZE))
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	memset(base + to, (int)value, length);
}

static inline void pgl_memory_copy(uint8_t *base, uint64_t to, uint64_t from, uint64_t length)
{
	if (UNLIKELY(to + length > PGL_MEMORY_SIZE || from + length > PGL_MEMORY_SIZE))
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	memmove(base + to, base + from, length);
}

/*
 * Functions of the guest's that begin with native ones (`rewrite`, NATIVE): what they touch is checked as above, or ends at the inaccessible pages behind the memory. Where
 * nothing is returned the translated code goes on.
 */
static inline uint32_t pgl_memcmp(uint8_t *base, uint32_t a, uint32_t b, uint32_t length)
{
	if (UNLIKELY((uint64_t)a + length > PGL_MEMORY_SIZE || (uint64_t)b + length > PGL_MEMORY_SIZE))
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	return (uint32_t)memcmp(base + a, base + b, length);
}

static inline uint32_t pgl_memchr(uint8_t *base, uint32_t from, uint32_t byte, uint32_t length)
{
	/* callers that know of a match give any length */
	uint64_t room = from < PGL_MEMORY_SIZE ? PGL_MEMORY_SIZE - from : 0;
	uint8_t *found = memchr(base + from, (int)byte, length < room ? length : room);

	if (UNLIKELY(!found && length > room))
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	return found ? (uint32_t)(found - base) : 0;
}

#define PGL_NATIVE_memcmp return pgl_memcmp(PGL_BASE(instance), var_p0, var_p1, var_p2);
#define PGL_NATIVE_bcmp PGL_NATIVE_memcmp
#define PGL_NATIVE_memchr return pgl_memchr(PGL_BASE(instance), var_p0, var_p1, var_p2);
#define PGL_NATIVE_strlen return (uint32_t)strlen((const char *)PGL_BASE(instance) + var_p0);
#define PGL_NATIVE_strcmp return (uint32_t)strcmp((const char *)PGL_BASE(instance) + var_p0, (const char *)PGL_BASE(instance) + var_p1);

/* What this processor can do (runtime.c): asked once, then remembered with PGL_CPU_KNOWN. */
enum { PGL_CPU_KNOWN = 1, PGL_CPU_CRC32C = 2, PGL_CPU_AVX2_FMA = 4 };
extern _Atomic unsigned pgl_cpu_features;
unsigned pgl_cpu_ask(void);
static inline bool pgl_cpu_has(unsigned feature)
{
	unsigned known = __c11_atomic_load(&pgl_cpu_features, __ATOMIC_RELAXED);

	return ((LIKELY(known) ? known : pgl_cpu_ask()) & feature) != 0;
}

/* CRC-32C with the processor's instruction (runtime.c): only where PGL_CPU_CRC32C says so */
uint32_t pgl_crc32c(uint32_t crc, const uint8_t *data, size_t length);
#define PGL_NATIVE_pg_comp_crc32c_sb8                                                          \
	if (pgl_cpu_has(PGL_CPU_CRC32C)) {                                                     \
		if (UNLIKELY((uint64_t)var_p1 + var_p2 > PGL_MEMORY_SIZE))                     \
			wasm_rt_trap(WASM_RT_TRAP_OOB);                                        \
		return pgl_crc32c(var_p0, PGL_BASE(instance) + var_p1, var_p2);                \
	}

/* bytes of native stack in use: what the import kernel.stack_depth answers */
#define pgl_context_depth(context) ((uint32_t)((context)->stack_base - (char *)__builtin_frame_address(0)))
#define pgl_stack_depth(instance) pgl_context_depth(PGL_CONTEXT(instance))

/* the memory that w2c_env_memory answers: set while a module is instantiated */
extern _Thread_local wasm_rt_memory_t *pgl_instantiating;
/* for the glue of each module */
void pgl_prepare(struct pgl_context *context, void *stack_base, void (*run)(void *instance, const uint32_t *arguments), void *instance, const uint32_t arguments[3]);
int pgl_resume(struct pgl_context *context);
void pgl_relocate(struct pgl_context *context, const void *old, const void *new_, size_t span);
WASM_RT_NO_RETURN void pgl_unwind(struct pgl_context *context, int code);

#endif
