/*
 * Nothing is loaded here: PostgreSQL's own modules are part of the program, extensions are side modules that were put
 * into its image. dlopen() finds either by base name.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include "dl_table.h"

struct guest_linked_list guest_linked_libraries;

static char message[256];
static int failed;

static int same_library(const char *name, const char *file)
{
	const char *slash = strrchr(file, '/');
	const char *base = slash ? slash + 1 : file;
	size_t length = strlen(name);

	return strncmp(base, name, length) == 0 && (base[length] == 0 || strcmp(base + length, ".so") == 0);
}

void *dlopen(const char *file, int mode)
{
	for (const struct guest_library *library = guest_libraries; file && library->name; library++)
		if (same_library(library->name, file))
			return (void *)library;
	for (const struct guest_linked_library *linked = guest_linked_libraries.first; file && linked; linked = linked->next)
		if (same_library(linked->library.name, file))
			return (void *)&linked->library;
	failed = 1;
	snprintf(message, sizeof message, "no library \"%s\" is linked into this program", file ? file : "");
	return 0;
}

void *dlsym(void *restrict handle, const char *restrict name)
{
	const struct guest_library *library = handle;

	for (const struct guest_symbol *symbol = library->symbols; symbol->name; symbol++)
		if (strcmp(symbol->name, name) == 0)
			return symbol->address;
	failed = 1;
	snprintf(message, sizeof message, "library \"%s\" has no symbol \"%s\"", library->name, name);
	return 0;
}

char *dlerror(void)
{
	if (!failed)
		return 0;
	failed = 0;
	return message;
}

int dlclose(void *handle)
{
	return 0;
}
