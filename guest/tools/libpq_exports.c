/*
 * What libpq exports besides its own functions. The build prefixes libpq's copy of src/common with lpq_, so that it does not clash
 * with libpgcommon, which in turn leaves these names to libpq (USE_PRIVATE_ENCODING_FUNCS).
 */
int lpq_pg_char_to_encoding(const char *name);
const char *lpq_pg_encoding_to_char(int encoding);
int lpq_pg_valid_server_encoding_id(int encoding);

int pg_char_to_encoding(const char *name)
{
	return lpq_pg_char_to_encoding(name);
}

const char *pg_encoding_to_char(int encoding)
{
	return lpq_pg_encoding_to_char(encoding);
}

int pg_valid_server_encoding_id(int encoding)
{
	return lpq_pg_valid_server_encoding_id(encoding);
}
