/*
 * Libraries that are side modules, linked only where somebody wants them: the server calls each through a table (server.c) that the module has (module.c). Both are compiled
 * once for each library, with -DLIBRARY=icu, and are made of the same list (icu.h), which is checked against the library's own declarations:
 *
 * CALL(result, name, parameters, arguments)
 * VOID_CALL(name, parameters, arguments)
 */
#ifndef CALLS_H
#define CALLS_H

#define CALLS_STRING(text) CALLS_STRING_OF(text)
#define CALLS_STRING_OF(text) #text
#define CALLS_NAME(end) CALLS_NAME_OF(LIBRARY, end)
#define CALLS_NAME_OF(library, end) CALLS_JOIN(library, end)
#define CALLS_JOIN(library, end) library##end

/* The list, and the name of the side module's function that returns the table. */
#include CALLS_STRING(LIBRARY.h)
#define TABLE CALLS_NAME(_table)

#define CALL(result, name, parameters, arguments) result (*name) parameters;
#define VOID_CALL(name, parameters, arguments) void (*name) parameters;
struct calls {
	CALLS
};
#undef CALL
#undef VOID_CALL

#endif
