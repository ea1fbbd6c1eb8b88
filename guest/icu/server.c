/*
 * ICU as the server has it: each of its functions calls the side module's, which is looked for at the first use. Where it is not linked, that is an error of SQL.
 */
#include "postgres.h"

#include <dlfcn.h>

#include "icu_calls.h"

static const struct icu_calls *calls;

/* Whether the side module is linked (guest/patches/0007-icu.patch). */
bool
icu_is_linked(void)
{
	if (calls == NULL)
	{
		void	   *library = dlopen(ICU_LIBRARY, RTLD_NOW);
		const struct icu_calls *(*table) (void) = NULL;

		if (library != NULL)
			table = (const struct icu_calls *(*) (void)) dlsym(library, ICU_TABLE);
		if (table != NULL)
			calls = table();
	}
	return calls != NULL;
}

static const struct icu_calls *
icu(void)
{
	if (unlikely(calls == NULL) && !icu_is_linked())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("ICU is not linked into this program"),
				 errhint("Build the program with the cargo feature \"icu\" of pglite-oxide.")));
	return calls;
}

#define ICU_CALL(result, name, parameters, arguments) result name parameters { return icu()->name arguments; }
#define ICU_VOID_CALL(name, parameters, arguments) void name parameters { icu()->name arguments; }
ICU_CALLS
