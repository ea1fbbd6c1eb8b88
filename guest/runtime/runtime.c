/*
 * The runtime that all compiled modules share: entering and leaving guests, system calls, exceptions, traps.
 */
#include "rt.h"
#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* the context that this thread has entered; for traps in code that has no instance at hand */
static __thread struct pgl_context *current;

_Thread_local wasm_rt_memory_t *pgl_instantiating;
_Thread_local pgl_present_fn *pgl_present;
_Thread_local void *pgl_present_state;

/* the import env.memory of every module: one definition, as several modules are linked into one program */
wasm_rt_memory_t *w2c_env_memory(struct w2c_env *env)
{
	return pgl_instantiating;
}

/* switch.c */
void pgl_switch(void **save, void *to);
WASM_RT_NO_RETURN void pgl_jump(void *to);
void pgl_first(void);

/* The first frame of a guest's stack; pgl_first comes here. */
WASM_RT_NO_RETURN void pgl_run(struct pgl_context *context)
{
	context->run(context->instance, context->arguments);
	pgl_unwind(context, PGL_RETURNED);
}

void pgl_prepare(struct pgl_context *context, void *stack_base, void (*run)(void *, const uint32_t *), void *instance, const uint32_t arguments[3])
{
	void **top = stack_base;

	context->run = run;
	context->instance = instance;
	memcpy(context->arguments, arguments, sizeof context->arguments);
	context->stack_base = stack_base;
	context->unwind_target = NULL;
	/* what pgl_switch pops: registers, then the address */
#if defined(__x86_64__)
	*--top = NULL; /* keeps the stack aligned as after a call */
	*--top = (void *)pgl_first;
	*--top = NULL;    /* rbp */
	*--top = context; /* rbx */
	for (int n = 0; n < 4; n++)
		*--top = NULL; /* r12-r15 */
#elif defined(__aarch64__)
	for (int n = 0; n < 20; n++)
		*--top = NULL;
	top[0] = context;            /* x19 */
	top[11] = (void *)pgl_first; /* x30 */
#endif
	context->guest_stack = top;
}

int pgl_resume(struct pgl_context *context)
{
	/* one guest's system call may lead to another guest on the same thread */
	struct pgl_context *outer = current;

	current = context;
	pgl_switch(&context->carrier_stack, context->guest_stack);
	current = outer;
	return context->code;
}

/* Leaves the guest for good: its stack is given up as it is. */
void pgl_unwind(struct pgl_context *context, int code)
{
	context->code = code;
	pgl_jump(context->carrier_stack);
}

/*
 * A parked guest's native stack holds, besides guest values, return addresses, which stay right, and addresses in its own space: of the instance, of
 * linear memory and of the stack in use. So whatever word lies in one of these ranges is taken for an address and moves with the space.
 *
 * Compilers also put two values of 32 bits into one word, or one beside what is left of something else. Spaces begin at multiples of 4 GiB, so moving changes the upper half
 * of a word only, and what is left there is dead. A live value that happens to be the upper half of the space's address, beside one that looks like an offset in it, would be changed:
 * the machine therefore puts spaces where that half is an uncommon number (sys/unix.rs). It would only be a value of the guest's own: the guest cannot leave its space by it.
 */
void pgl_relocate(struct pgl_context *context, const void *old, const void *new_, size_t span)
{
	const uintptr_t from = (uintptr_t)old, delta = (uintptr_t)new_ - from;
	/* below the stack in use nothing is pointed to */
	const uintptr_t floor = (uintptr_t)context->guest_stack - from;
#define IS_INSIDE(word) ((uintptr_t)(word) - from - floor < span - floor)
#define MOVE(pointer) ((pointer) = (void *)(IS_INSIDE(pointer) ? (uintptr_t)(pointer) + delta : (uintptr_t)(pointer)))

	MOVE(context->stack_base);
	MOVE(context->guest_stack);
	MOVE(context->instance);
	MOVE(context->unwind_target);
	for (void **word = context->guest_stack; word < (void **)context->stack_base; word++)
		MOVE(*word);
}

uint32_t w2c_kernel_syscall(struct w2c_kernel *kernel, uint32_t number, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, uint32_t f)
{
	struct pgl_context *context = (struct pgl_context *)kernel;
	const uint32_t arguments[6] = {a, b, c, d, e, f};

	for (;;) {
		int64_t result = context->syscall(context->task, number, arguments);

		if (result == PGL_UNWIND)
			pgl_unwind(context, PGL_EXITED);
		if (result != PGL_PARK)
			return (uint32_t)result;
		context->code = PGL_PARKED;
		/* comes back on any thread, and perhaps at another address */
		pgl_switch(&context->guest_stack, context->carrier_stack);
	}
}

/* calls of it are rewritten to pgl_stack_depth; this is for the wrapper that wasm2c writes */
uint32_t w2c_kernel_stack_depth(struct w2c_kernel *kernel)
{
	return pgl_context_depth((struct pgl_context *)kernel);
}

void pgl_load_exception(struct pgl_context *context, const void *tag, uint32_t size, const void *values)
{
	if (size > sizeof context->exception)
		wasm_rt_trap(WASM_RT_TRAP_EXHAUSTION);
	context->exception_tag = tag;
	context->exception_size = size;
	memcpy(context->exception, values, size);
}

void pgl_throw(struct pgl_context *context)
{
	wasm_rt_jmp_buf *target = context->unwind_target;

	if (!target)
		wasm_rt_trap(WASM_RT_TRAP_UNCAUGHT_EXCEPTION);
	if (!target->initialized)
		abort();
	target->initialized = false;
	pgl_longjmp((void **)target->buffer, WASM_RT_TRAP_UNCAUGHT_EXCEPTION);
}

void wasm_rt_trap(wasm_rt_trap_t trap)
{
	if (!current)
		abort();
	pgl_unwind(current, PGL_TRAPPED + trap);
}

bool wasm_rt_is_initialized(void)
{
	return true;
}

_Atomic unsigned pgl_cpu_features;

#if defined(__x86_64__)
unsigned pgl_cpu_ask(void)
{
	unsigned found = PGL_CPU_KNOWN;
	uint32_t a, b, c, d, low, high;

	if (__get_cpuid(1, &a, &b, &c, &d)) {
		if (c & bit_SSE4_2)
			found |= PGL_CPU_CRC32C;
		/* the operating system must keep the wide registers, too */
		if ((c & bit_FMA) && (c & bit_OSXSAVE) && (c & bit_AVX)) {
			__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
			if ((low & 6) == 6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2))
				found |= PGL_CPU_AVX2_FMA;
		}
	}
	pgl_cpu_features = found;
	return found;
}

__attribute__((target("sse4.2,crc32"))) uint32_t pgl_crc32c(uint32_t crc, const uint8_t *data, size_t length)
{
	uint64_t wide = crc;

	for (; length >= 8; data += 8, length -= 8) {
		uint64_t word;

		memcpy(&word, data, 8);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; length; data++, length--)
		crc = __builtin_ia32_crc32qi(crc, *data);
	return crc;
}
#else
/* not every processor of these has the instructions, and asking differs by system */
unsigned pgl_cpu_ask(void)
{
	return pgl_cpu_features = PGL_CPU_KNOWN;
}

uint32_t pgl_crc32c(uint32_t crc, const uint8_t *data, size_t length)
{
	return crc;
}
#endif

/* One table a module and host process: it never changes once filled, so every guest process shares it. */
void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *table, uint32_t elements, uint32_t max_elements)
{
	/* Room for side modules: pages that nobody touches cost nothing, and empty slots trap. */
	table->data = calloc(elements + PGL_TABLE_ROOM, sizeof *table->data);
	if (!table->data)
		abort();
	table->size = elements + PGL_TABLE_ROOM;
	table->max_size = max_elements + PGL_TABLE_ROOM;
}

/* Modules live as long as the host process. */
void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table)
{
	(void)table;
}
