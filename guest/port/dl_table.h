/* The tables that dlopen() searches; written by the build, one entry a module. */
#ifndef DL_TABLE_H
#define DL_TABLE_H

struct guest_symbol {
	const char *name;
	void *address;
};

struct guest_library {
	const char *name;
	const struct guest_symbol *symbols;
};

/* The modules that are part of the program. Ends with an entry without a name. */
extern const struct guest_library guest_libraries[];

/* The module of a side module, in its own data. */
struct guest_linked_library {
	struct guest_library library;
	const struct guest_linked_library *next;
};

/*
 * The side modules that are linked into the host program: a list that is made before the program's image is frozen
 * (guest/extensions/library.c.in). Its head has pages of its own on any host: a frozen cluster that is opened in
 * another program (machine/saved.rs) replaces whole pages, and its processes must find that program's list.
 */
#define GUEST_HOST_PAGE 65536
struct guest_linked_list {
	const struct guest_linked_library *first;
	char unused[GUEST_HOST_PAGE - sizeof(void *)];
} __attribute__((aligned(GUEST_HOST_PAGE)));

extern struct guest_linked_list guest_linked_libraries;

#endif
