/*
 * A side module's own part: the table of what the server calls.
 */
#include "calls.h"

#define CALL(result, name, parameters, arguments) .name = name,
#define VOID_CALL(name, parameters, arguments) .name = name,
static const struct calls calls = {
	CALLS
};

__attribute__((visibility("default")))
const struct calls *TABLE(void)
{
	return &calls;
}
