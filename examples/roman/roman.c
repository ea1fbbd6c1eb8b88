/*
 * Integers written as Roman numerals: an example of an extension for `pglite ext build`. It uses what extensions use: a setting, errors and catching them, memory contexts, arrays, and a function
 * of the server that calls back.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "numeral.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(to_roman);
PG_FUNCTION_INFO_V1(from_roman);
PG_FUNCTION_INFO_V1(try_from_roman);
PG_FUNCTION_INFO_V1(roman_words);

static bool lower_case = false;

typedef struct
{
	int			value;
	char	   *word;
} Found;

void
_PG_init(void)
{
	DefineCustomBoolVariable("roman.lower_case", "Writes numerals in lower case.", NULL, &lower_case, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("roman");
}

Datum
to_roman(PG_FUNCTION_ARGS)
{
	int			value = PG_GETARG_INT32(0);
	char		numeral[NUMERAL_SIZE];

	if (value < 1 || value > NUMERAL_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%d has no Roman numeral", value),
				 errhint("Numerals are those of 1 to %d.", NUMERAL_MAX)));
	numeral_write(value, numeral, lower_case);
	PG_RETURN_TEXT_P(cstring_to_text(numeral));
}

static int
read_or_error(text *numeral)
{
	int			value = numeral_read(VARDATA_ANY(numeral), VARSIZE_ANY_EXHDR(numeral));

	if (value == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("\"%s\" is no Roman numeral", text_to_cstring(numeral))));
	return value;
}

Datum
from_roman(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(read_or_error(PG_GETARG_TEXT_PP(0)));
}

Datum
try_from_roman(PG_FUNCTION_ARGS)
{
	text	   *numeral = PG_GETARG_TEXT_PP(0);
	MemoryContext before = CurrentMemoryContext;
	volatile int value = 0;

	PG_TRY();
	{
		value = read_or_error(numeral);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(before);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_INVALID_TEXT_REPRESENTATION)
			PG_RE_THROW();
		FlushErrorState();
		FreeErrorData(error);
	}
	PG_END_TRY();
	if (value == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(value);
}

static int
by_value(const void *a, const void *b)
{
	return ((const Found *) a)->value - ((const Found *) b)->value;
}

Datum
roman_words(PG_FUNCTION_ARGS)
{
	char	   *input = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Found	   *found = palloc(sizeof(Found) * (strlen(input) + 1));
	Datum	   *words;
	char	   *state;
	int			n = 0;

	for (char *word = strtok_r(input, " ,.;:\n\t", &state); word; word = strtok_r(NULL, " ,.;:\n\t", &state))
	{
		int			value = numeral_read(word, strlen(word));

		if (value > 0)
			found[n++] = (Found) {value, word};
	}
	qsort(found, n, sizeof(Found), by_value);
	words = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
		words[i] = CStringGetTextDatum(found[i].word);
	PG_RETURN_ARRAYTYPE_P(construct_array_builtin(words, n, TEXTOID));
}
