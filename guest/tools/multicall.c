/*
 * PostgreSQL's client programs in one module: they share libpq, libpgcommon and libpgfeutils. Which one runs is decided by
 * the base name of argv[0], as in busybox. The build makes each program's symbols its own, but for PROGRAM_main.
 */
#include <stdio.h>
#include <string.h>

/* one line PROGRAM(name) for each, written by the build */
#define PROGRAM(name) int name##_main(int, char **);
#include "programs.h"
#undef PROGRAM

enum { NOT_FOUND = 127 };

static const struct {
	const char *name;
	int (*run)(int, char **);
} programs[] = {
#define PROGRAM(name) {#name, name##_main},
#include "programs.h"
#undef PROGRAM
};

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *base = slash ? slash + 1 : argv[0];

	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
		if (strcmp(programs[i].name, base) == 0)
			return programs[i].run(argc, argv);
	fprintf(stderr, "%s: there is no such program in this module\n", base);
	return NOT_FOUND;
}
