#include "postgres.h"

#include <ctype.h>

#include "numeral.h"

static const struct
{
	int			value;
	const char *text;
}			parts[] =
{
	{1000, "M"}, {900, "CM"}, {500, "D"}, {400, "CD"},
	{100, "C"}, {90, "XC"}, {50, "L"}, {40, "XL"},
	{10, "X"}, {9, "IX"}, {5, "V"}, {4, "IV"}, {1, "I"}
};

void
numeral_write(int value, char *out, int lower)
{
	for (int i = 0; i < lengthof(parts); i++)
	{
		while (value >= parts[i].value)
		{
			for (const char *c = parts[i].text; *c; c++)
				*out++ = lower ? (char) tolower((unsigned char) *c) : *c;
			value -= parts[i].value;
		}
	}
	*out = '\0';
}

int
numeral_read(const char *text, int length)
{
	char		again[NUMERAL_SIZE];
	int			value = 0;
	const char *c = text;
	const char *end = text + length;

	for (int i = 0; i < lengthof(parts); i++)
	{
		size_t		n = strlen(parts[i].text);

		while (end - c >= (ptrdiff_t) n && pg_strncasecmp(c, parts[i].text, n) == 0)
		{
			value += parts[i].value;
			c += n;
			if (value > NUMERAL_MAX)
				return 0;
		}
	}
	if (c != end || value == 0)
		return 0;
	/* IIII and the like: only the one way to write a number counts */
	numeral_write(value, again, false);
	if ((int) strlen(again) != length || pg_strncasecmp(again, text, length) != 0)
		return 0;
	return value;
}
