/*
 * A library as the server has it: each of its functions calls the side module's, which is looked for at the first use. Where it is not linked, that is an error of SQL.
 * Compiled with -DTITLE="ICU" for the message, besides what calls.h needs. The side module and the cargo feature that links it have the library's name.
 */
#include "postgres.h"

#include <dlfcn.h>

#include "calls.h"

static const struct calls *calls;

/* Whether the side module is linked: icu_is_linked(), for guest/patches. */
bool
CALLS_NAME(_is_linked)(void)
{
	if (calls == NULL)
	{
		void	   *library = dlopen(CALLS_STRING(LIBRARY), RTLD_NOW);
		const struct calls *(*table) (void) = NULL;

		if (library != NULL)
			table = (const struct calls *(*) (void)) dlsym(library, CALLS_STRING(TABLE));
		if (table != NULL)
			calls = table();
	}
	return calls != NULL;
}

static const struct calls *
linked(void)
{
	if (unlikely(calls == NULL) && !CALLS_NAME(_is_linked)())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s is not linked into this program", TITLE),
				 errhint("Build the program with the cargo feature \"%s\" of pglite-oxide.", CALLS_STRING(LIBRARY))));
	return calls;
}

#define CALL(result, name, parameters, arguments) result name parameters { return linked()->name arguments; }
#define VOID_CALL(name, parameters, arguments) void name parameters { linked()->name arguments; }
CALLS
