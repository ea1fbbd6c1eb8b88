/*
 * The runtime that all compiled modules share: entering and leaving guests, system calls, exceptions, traps.
 */
#include "rt.h"

/* the context that this thread has entered; for traps in code that has no instance at hand */
static __thread struct pgl_context *current;

_Thread_local wasm_rt_memory_t *pgl_instantiating;

/* the import env.memory of every module: one definition, as several modules are linked into one program */
wasm_rt_memory_t *w2c_env_memory(struct w2c_env *env)
{
	return pgl_instantiating;
}

int pgl_enter(struct pgl_context *context, void (*run)(void *, const uint32_t *), void *instance, const uint32_t *arguments)
{
	struct pgl_context *volatile entered = context;
	int code;

	context->stack_base = __builtin_frame_address(0);
	context->unwind_target = NULL;
	current = context;
	code = _setjmp(context->exit);
	if (code == 0) {
		run(instance, arguments);
		code = PGL_RETURNED;
	}
	entered->stack_base = NULL;
	current = NULL;
	return code;
}

void pgl_unwind(struct pgl_context *context, int code)
{
	_longjmp(context->exit, code);
}

uint32_t w2c_kernel_syscall(struct w2c_kernel *kernel, uint32_t number, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, uint32_t f)
{
	struct pgl_context *context = (struct pgl_context *)kernel;
	const uint32_t arguments[6] = {a, b, c, d, e, f};
	int64_t result = context->syscall(context->task, number, arguments);

	if (result == PGL_UNWIND)
		pgl_unwind(context, PGL_EXITED);
	return (uint32_t)result;
}

uint32_t w2c_kernel_stack_depth(struct w2c_kernel *kernel)
{
	struct pgl_context *context = (struct pgl_context *)kernel;

	return (uint32_t)(context->stack_base - (char *)__builtin_frame_address(0));
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
	WASM_RT_LONGJMP(*target, WASM_RT_TRAP_UNCAUGHT_EXCEPTION);
}

void wasm_rt_trap(wasm_rt_trap_t trap)
{
	if (!current)
		abort();
	pgl_unwind(current, PGL_TRAPPED + trap);
	__builtin_unreachable();
}

bool wasm_rt_is_initialized(void)
{
	return true;
}

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
