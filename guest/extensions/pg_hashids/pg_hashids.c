/*
 * Short ids from numbers and back: the published hashids algorithm (version 1.0), under the SQL names of the extension pg_hashids.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC_EXT(.name = "pg_hashids", .version = "1.3");

#define DEFAULT_ALPHABET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890"
#define DEFAULT_SEPARATORS "cfhistuCFHISTU"
#define ALPHABET_MIN 16
#define SEPARATOR_SHARE 3.5
#define GUARD_SHARE 12.0

/* Sets of single bytes, in an order that matters. */
typedef struct Coder
{
	char		alphabet[257];
	int			alphabet_len;
	char		separators[257];
	int			separators_len;
	char		guards[257];
	int			guards_len;
	const char *salt;
	int			salt_len;
	int			min_length;
} Coder;

static void
shuffle(char *set, int len, const char *salt, int salt_len)
{
	int			v = 0;
	int			p = 0;

	if (salt_len == 0)
		return;
	for (int i = len - 1; i > 0; i--, v++)
	{
		int			c;
		int			j;
		char		swap;

		v %= salt_len;
		c = (unsigned char) salt[v];
		p += c;
		j = (c + v + p) % i;
		swap = set[i];
		set[i] = set[j];
		set[j] = swap;
	}
}

static int
share(int len, double of)
{
	return (int) (len / of) + (len / of > (int) (len / of));
}

static void
init_coder(Coder *coder, const char *salt, int min_length, const char *alphabet)
{
	char		unique[257];
	int			unique_len = 0;

	memset(coder, 0, sizeof *coder);
	coder->salt = salt;
	coder->salt_len = strlen(salt);
	coder->min_length = Max(min_length, 0);
	for (const char *c = alphabet; *c; c++)
	{
		if (*c == ' ' || *c == '\t')
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the alphabet must not contain spaces"));
		if (!memchr(unique, *c, unique_len))
			unique[unique_len++] = *c;
	}
	if (unique_len < ALPHABET_MIN)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("the alphabet must have at least %d different characters", ALPHABET_MIN));

	for (const char *c = DEFAULT_SEPARATORS; *c; c++)
		if (memchr(unique, *c, unique_len))
			coder->separators[coder->separators_len++] = *c;
	for (int i = 0; i < unique_len; i++)
		if (!strchr(DEFAULT_SEPARATORS, unique[i]))
			coder->alphabet[coder->alphabet_len++] = unique[i];
	shuffle(coder->separators, coder->separators_len, salt, coder->salt_len);

	if (coder->separators_len == 0 ||
		(double) coder->alphabet_len / coder->separators_len > SEPARATOR_SHARE)
	{
		int			wanted = Max(share(coder->alphabet_len, SEPARATOR_SHARE), 2);
		int			more = wanted - coder->separators_len;

		if (more > 0)
		{
			memcpy(coder->separators + coder->separators_len, coder->alphabet, more);
			coder->alphabet_len -= more;
			memmove(coder->alphabet, coder->alphabet + more, coder->alphabet_len);
		}
		coder->separators_len = wanted;
	}
	shuffle(coder->alphabet, coder->alphabet_len, salt, coder->salt_len);

	coder->guards_len = share(coder->alphabet_len, GUARD_SHARE);
	if (coder->alphabet_len < 3)
	{
		memcpy(coder->guards, coder->separators, coder->guards_len);
		coder->separators_len -= coder->guards_len;
		memmove(coder->separators, coder->separators + coder->guards_len, coder->separators_len);
	}
	else
	{
		memcpy(coder->guards, coder->alphabet, coder->guards_len);
		coder->alphabet_len -= coder->guards_len;
		memmove(coder->alphabet, coder->alphabet + coder->guards_len, coder->alphabet_len);
	}
}

/* The alphabet for the next number: shuffled by the lottery character, the salt and itself, cut to its length. */
static void
next_alphabet(const Coder *coder, char lottery, char *alphabet)
{
	int			len = coder->alphabet_len;
	char	   *salt = palloc(1 + coder->salt_len + len);

	salt[0] = lottery;
	memcpy(salt + 1, coder->salt, coder->salt_len);
	memcpy(salt + 1 + coder->salt_len, alphabet, len);
	shuffle(alphabet, len, salt, len);
	pfree(salt);
}

static char *
encode(const Coder *coder, const uint64 *numbers, int count)
{
	int			len = coder->alphabet_len;
	char		alphabet[257];
	/* at most 64 digits and a separator each, and what is padded: no more than an alphabet beyond the wanted length */
	char	   *out = palloc(count * 66 + coder->min_length + 2 * len + 4);
	int			at = 0;
	uint64		sum = 0;
	char		lottery;

	if (count == 0)
		return pstrdup("");
	memcpy(alphabet, coder->alphabet, len);
	for (int i = 0; i < count; i++)
		sum += numbers[i] % (i + 100);
	lottery = out[at++] = alphabet[sum % len];
	for (int i = 0; i < count; i++)
	{
		uint64		number = numbers[i];
		char		digits[64];
		int			n = 0;

		next_alphabet(coder, lottery, alphabet);
		do
			digits[n++] = alphabet[number % len];
		while ((number /= len) > 0);
		for (int j = n; j > 0; j--)
			out[at++] = digits[j - 1];
		if (i + 1 < count)
		{
			number = numbers[i] % ((unsigned char) digits[n - 1] + i);
			out[at++] = coder->separators[number % coder->separators_len];
		}
	}
	if (at < coder->min_length)
	{
		memmove(out + 1, out, at++);
		out[0] = coder->guards[(sum + (unsigned char) out[1]) % coder->guards_len];
		if (at < coder->min_length)
		{
			out[at] = coder->guards[(sum + (unsigned char) out[2]) % coder->guards_len];
			at++;
		}
	}
	while (at < coder->min_length)
	{
		int			half = len / 2;
		char		salt[257];
		int			excess;

		memcpy(salt, alphabet, len);
		shuffle(alphabet, len, salt, len);
		memmove(out + (len - half), out, at);
		memcpy(out, alphabet + half, len - half);
		at += len - half;
		memcpy(out + at, alphabet, half);
		at += half;
		excess = at - coder->min_length;
		if (excess > 0)
		{
			memmove(out, out + excess / 2, coder->min_length);
			at = coder->min_length;
		}
	}
	out[at] = '\0';
	return out;
}

/* The numbers of an id; none if it is not one that this coder makes. */
static int
decode(const Coder *coder, const char *id, uint64 **numbers)
{
	const char *begin = id;
	const char *end = id + strlen(id);
	char		alphabet[257];
	int			count = 0;
	int			parts = 0;
	char		lottery;
	uint64	   *found = palloc((end - begin + 1) * sizeof(uint64));

	/* between the first guard and the second, or the end */
	for (const char *c = id; *c; c++)
	{
		if (!memchr(coder->guards, *c, coder->guards_len))
			continue;
		if (parts == 0)
			begin = c + 1;
		else if (parts == 1)
			end = c;
		parts++;
	}
	if (parts > 2)
	{
		begin = id;
		end = id + strcspn(id, coder->guards);
	}
	*numbers = found;
	if (begin >= end)
		return 0;
	memcpy(alphabet, coder->alphabet, coder->alphabet_len);
	lottery = *begin++;
	for (;;)
	{
		uint64		number = 0;

		next_alphabet(coder, lottery, alphabet);
		for (; begin < end && !memchr(coder->separators, *begin, coder->separators_len); begin++)
		{
			const char *digit = memchr(alphabet, *begin, coder->alphabet_len);

			if (!digit)
				return 0;
			number = number * coder->alphabet_len + (digit - alphabet);
		}
		found[count++] = number;
		if (begin >= end)
			break;
		begin++;
	}
	return strcmp(encode(coder, found, count), id) == 0 ? count : 0;
}

/* Arguments from `first` on: salt, least length, alphabet, as many as there are. */
static void
coder_of(FunctionCallInfo fcinfo, int first, Coder *coder)
{
	int			given = PG_NARGS() - first;

	init_coder(coder,
			   given > 0 ? text_to_cstring(PG_GETARG_TEXT_PP(first)) : "",
			   given > 1 ? PG_GETARG_INT32(first + 1) : 0,
			   given > 2 ? text_to_cstring(PG_GETARG_TEXT_PP(first + 2)) : DEFAULT_ALPHABET);
}

PG_FUNCTION_INFO_V1(id_encode);
Datum
id_encode(PG_FUNCTION_ARGS)
{
	uint64		number = (uint64) PG_GETARG_INT64(0);
	Coder		coder;

	coder_of(fcinfo, 1, &coder);
	PG_RETURN_TEXT_P(cstring_to_text(encode(&coder, &number, 1)));
}

PG_FUNCTION_INFO_V1(id_encode_array);
Datum
id_encode_array(PG_FUNCTION_ARGS)
{
	Datum	   *elements;
	int			count;
	uint64	   *numbers;
	Coder		coder;

	coder_of(fcinfo, 1, &coder);
	if (array_contains_nulls(PG_GETARG_ARRAYTYPE_P(0)))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("the numbers must not be null"));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, NULL, &count);
	numbers = palloc(Max(count, 1) * sizeof(uint64));
	for (int i = 0; i < count; i++)
		numbers[i] = (uint64) DatumGetInt64(elements[i]);
	PG_RETURN_TEXT_P(cstring_to_text(encode(&coder, numbers, count)));
}

PG_FUNCTION_INFO_V1(id_decode);
Datum
id_decode(PG_FUNCTION_ARGS)
{
	uint64	   *numbers;
	int			count;
	Datum	   *elements;
	Coder		coder;

	coder_of(fcinfo, 1, &coder);
	count = decode(&coder, text_to_cstring(PG_GETARG_TEXT_PP(0)), &numbers);
	elements = palloc(Max(count, 1) * sizeof(Datum));
	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum((int64) numbers[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array_builtin(elements, count, INT8OID));
}

PG_FUNCTION_INFO_V1(id_decode_once);
Datum
id_decode_once(PG_FUNCTION_ARGS)
{
	uint64	   *numbers;
	Coder		coder;

	coder_of(fcinfo, 1, &coder);
	if (decode(&coder, text_to_cstring(PG_GETARG_TEXT_PP(0)), &numbers) == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) numbers[0]);
}
