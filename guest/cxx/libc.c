/*
 * Functions of the C library that libc++ calls and the server does not have. As in musl, numbers do not depend on the locale.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

double strtod_l(const char *text, char **end, locale_t locale)
{
	return strtod(text, end);
}

float strtof_l(const char *text, char **end, locale_t locale)
{
	return strtof(text, end);
}

long double strtold_l(const char *text, char **end, locale_t locale)
{
	return strtold(text, end);
}

/* Of the locale in use: one that has characters of more than one byte takes the first byte of one as the beginning of something. */
size_t __ctype_get_mb_cur_max(void)
{
	mbstate_t state;

	memset(&state, 0, sizeof state);
	return mbrtowc(NULL, "\xc3", 1, &state) == (size_t)-2 ? 4 : 1;
}

wint_t btowc(int byte)
{
	mbstate_t state;
	wchar_t wide;
	char text = (char)byte;

	if (byte == EOF)
		return WEOF;
	memset(&state, 0, sizeof state);
	return mbrtowc(&wide, &text, 1, &state) <= 1 ? (wint_t)wide : WEOF;
}

int wctob(wint_t wide)
{
	char text[16];
	mbstate_t state;

	if (wide == WEOF)
		return EOF;
	memset(&state, 0, sizeof state);
	return wcrtomb(text, (wchar_t)wide, &state) == 1 ? (unsigned char)text[0] : EOF;
}

size_t mbsnrtowcs(wchar_t *to, const char **from, size_t bytes, size_t size, mbstate_t *state)
{
	static mbstate_t own;
	const char *at = *from, *end = at + bytes;
	size_t count = 0;

	if (!state)
		state = &own;
	while (at < end && (!to || count < size)) {
		wchar_t wide;
		size_t used = mbrtowc(&wide, at, (size_t)(end - at), state);

		if (used == (size_t)-1) {
			if (to)
				*from = at;
			return used;
		}
		if (used == (size_t)-2) {
			at = end;
			break;
		}
		if (to)
			to[count] = wide;
		if (used == 0) {
			if (to)
				*from = NULL;
			return count;
		}
		at += used;
		count++;
	}
	if (to)
		*from = at;
	return count;
}

size_t wcsnrtombs(char *to, const wchar_t **from, size_t wides, size_t size, mbstate_t *state)
{
	const wchar_t *at = *from, *end = at + wides;
	size_t count = 0;

	while (at < end) {
		char text[16];
		size_t made = wcrtomb(text, *at, state);

		if (made == (size_t)-1) {
			if (to)
				*from = at;
			return made;
		}
		if (to && made > size - count)
			break;
		if (to)
			memcpy(to + count, text, made);
		if (!*at) {
			if (to)
				*from = NULL;
			return count;
		}
		count += made;
		at++;
	}
	if (to)
		*from = at;
	return count;
}
