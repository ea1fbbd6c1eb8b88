/* The table that dlopen() searches; written by the build, one entry a module. */
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

/* Ends with an entry without a name. */
extern const struct guest_library guest_libraries[];

#endif
