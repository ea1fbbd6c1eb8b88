/*
 * The C ABI between the machine (Rust) and a compiled guest module.
 *
 * Layout of one guest process, all offsets from the guest's byte 0 (`base`):
 *
 *     base - PGL_INSTANCE_SPAN - ...   the native stack, below it a guard
 *     base - PGL_INSTANCE_SPAN   the module's instance: its globals, as wasm2c declares them
 *     base - PGL_CONTEXT_SPAN    struct pgl_context
 *     base                       linear memory, 4 GiB, then 4 GiB of guard
 *
 * So the instance pointer alone leads to everything, by constants.
 */
#ifndef PGLITE_MODULE_H
#define PGLITE_MODULE_H

#include <stddef.h>
#include <stdint.h>

#define PGL_ABI_VERSION 6u
#define PGL_INSTANCE_SPAN 0x100000u
#define PGL_CONTEXT_SPAN 0x10000u
/* bytes of linear memory a module may touch: 65,535 wasm pages */
#define PGL_MEMORY_SIZE 4294901760u

/* slots of a function table behind the program's own, for its side modules */
#define PGL_TABLE_ROOM 32768u

/* what pgl_context.syscall returns to leave the guest for good */
#define PGL_UNWIND INT64_MIN
/* ... and to leave it for now: the same call is made again when the guest is resumed */
#define PGL_PARK (INT64_MIN + 1)

/* what resume returns */
enum {
	PGL_RETURNED = 0, /* the entry function returned: cannot happen with our start code */
	PGL_EXITED = 1,   /* a system call answered PGL_UNWIND */
	PGL_PARKED = 2,   /* a system call answered PGL_PARK */
	PGL_TRAPPED = 3   /* PGL_TRAPPED + a wasm_rt_trap_t, or what the machine passed to unwind() */
};

struct pgl_context {
	/* set by the machine before resuming */
	int64_t (*syscall)(void *task, uint32_t number, const uint32_t arguments[6]);
	void *task;
	/* where the native stack begins (it grows down) */
	char *stack_base;
	/* top of the guest's stack while it does not run */
	void *guest_stack;
	/* top of the stack of the thread that resumed the guest, while it runs */
	void *carrier_stack;
	/* the entry: run(instance, arguments) */
	void (*run)(void *instance, const uint32_t *arguments);
	void *instance;
	uint32_t arguments[3];
	/* why the guest was left */
	int code;
	/* innermost wasm try block, for exceptions; NULL outside of any */
	void *unwind_target;
	/* the exception in flight: its tag and its one i32 payload */
	const void *exception_tag;
	uint32_t exception_size;
	uint32_t exception[4];
};

/*
 * Asked before a data segment is written at `offset`: how many of its `size` bytes, from the first on, the memory will have without that.
 */
typedef size_t pgl_present_fn(void *state, uint32_t offset, const uint8_t *data, size_t size);

struct pgl_module {
	uint32_t abi_version;
	uint32_t instance_size;  /* bytes; at most PGL_INSTANCE_SPAN - PGL_CONTEXT_SPAN */
	uint32_t context_size;   /* sizeof(struct pgl_context); at most PGL_CONTEXT_SPAN */
	uint32_t heap_base;      /* end of data and stack: [64 KiB, heap_base) is the image */
	const char *name;        /* "postgres", ... */
	const char *fingerprint; /* of the inputs of the build, hex */
	const char *core;        /* of the program as linked: what its side modules must have been built for */
	/* writes globals, table and data segments; memory must be zero and writable. Not thread-safe: once per module. */
	void (*instantiate)(void *instance, pgl_present_fn *present, void *state);
	/* copies the globals of one instance to another, which may be the same: then only pointers to its own place are set */
	void (*fork_instance)(void *child, const void *parent);
	/* make the instance ready to run guest_start / guest_fork_child on a stack that ends at `stack_base` */
	void (*prepare_start)(void *instance, void *stack_base, uint32_t argc, uint32_t argv, uint32_t envp);
	void (*prepare_fork_child)(void *instance, void *stack_base, uint32_t function, uint32_t argument);
	/* run a prepared or parked guest on the calling thread until it leaves the guest; see the enum above */
	int (*resume)(struct pgl_context *context);
	/* after context and stack of a parked guest were copied from `old` (start of the space that `span` bytes belong to) to `new`: adjusts every address */
	void (*relocate)(struct pgl_context *context, const void *old, const void *new_, size_t span);
	/* leaves the guest from a signal handler: only while the thread runs guest code, never over Rust frames */
	void (*unwind)(struct pgl_context *context, int code);
	/*
	 * Code and constants that keep their distances from these in whatever program the module is linked into: all that
	 * `resume` may run of the module. NULL if the linker may move each function by itself.
	 */
	const char *code_start;
	const char *code_end;
	const char *constants_start;
	const char *constants_end;
};

/*
 * A side module (a PostgreSQL extension's library): position-independent wasm whose bases the build has fixed, so that its
 * code runs on the instance of its program and has no instance of its own.
 */
struct pgl_library {
	uint32_t abi_version;
	uint32_t data_base;  /* its data and constants: [data_base, data_base + data_size), below the program's */
	uint32_t data_size;
	uint32_t table_base; /* its slots: [table_base, table_base + table_size), behind the program's */
	uint32_t table_size;
	uint32_t reserved;
	const char *name;        /* as dlopen() knows it: "vector" */
	const char *program;     /* "postgres" */
	const char *core;        /* the program's, when this was built */
	const char *fingerprint; /* of the inputs of the build, hex */
	/* writes data and table slots; after the program's instantiate, on the same memory. Asks for constants that are no part of the module. */
	void (*instantiate)(void *instance, pgl_present_fn *present, void *state);
};

extern const struct pgl_module pgl_module_postgres;
extern const struct pgl_module pgl_module_initdb;

#endif
