/*
 * The side module's own part: the table of what the server calls.
 */
#include "icu_calls.h"

#define ICU_CALL(result, name, parameters, arguments) .name = name,
#define ICU_VOID_CALL(name, parameters, arguments) .name = name,
static const struct icu_calls calls = {
	ICU_CALLS
};

__attribute__((visibility("default")))
const struct icu_calls *icu_table(void)
{
	return &calls;
}
