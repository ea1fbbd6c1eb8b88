/*
 * The C ABI between the machine (Rust) and the shared object of a loadable pack.
 *
 * A pack's library is a side module like those that are linked (struct pgl_library), with two differences: its place in memory and table is chosen when it is loaded, and it finds the server's
 * functions through pointers that the loader fills in, since a program exports none of its own.
 */
#ifndef PGLITE_PACK_H
#define PGLITE_PACK_H

#include "pglite_module.h"

#define PGL_PACK_VERSION 1u

struct pgl_import {
	const char *name;
	const void **place; /* set by the loader before instantiate */
};

struct pgl_pack_library {
	uint32_t pack_version;
	uint32_t abi_version;
	uint32_t data_size;
	uint32_t data_align;   /* a power of two */
	uint32_t table_size;
	uint32_t import_count;
	uint32_t *memory_base; /* set by the loader: where its data goes */
	uint32_t *table_base;  /* ... and its first slot */
	const struct pgl_import *imports;
	const char *name;
	const char *program;
	const char *core;
	const char *fingerprint;
	void (*instantiate)(void *instance, pgl_present_fn *present, void *state);
};

#endif
