/*
 * UUIDs of version 7 (RFC 9562) and their times, under the SQL names of the extension pg_uuidv7.
 */
#include "postgres.h"

#include <sys/time.h>

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

PG_MODULE_MAGIC_EXT(.name = "pg_uuidv7", .version = "1.6");

/* Milliseconds from the Unix epoch to PostgreSQL's. */
#define EPOCH_MS ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000)

/* A UUID of this millisecond; its other bits are random, or zero. */
static pg_uuid_t *
uuid_of(uint64 unix_ms, bool zero)
{
	pg_uuid_t  *uuid = palloc0(sizeof(pg_uuid_t));
	uint64		time = pg_hton64(unix_ms << 16);

	if (!zero && !pg_strong_random(uuid->data + 6, UUID_LEN - 6))
		ereport(ERROR,
				errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("could not generate random values"));
	memcpy(uuid->data, &time, 6);
	uuid->data[6] = (uuid->data[6] & 0x0f) | 0x70;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
	return uuid;
}

static Timestamp
time_of(const pg_uuid_t *uuid)
{
	uint64		time = 0;

	memcpy(&time, uuid->data, 6);
	return ((int64) (pg_ntoh64(time) >> 16) - EPOCH_MS) * 1000;
}

static pg_uuid_t *
uuid_at(Timestamp time, bool zero)
{
	int64		unix_ms;

	if (TIMESTAMP_NOT_FINITE(time))
		ereport(ERROR,
				errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				errmsg("timestamp out of range"));
	/* towards the past, also before 2000 */
	unix_ms = (time >= 0 ? time / 1000 : -((999 - time) / 1000)) + EPOCH_MS;
	if (unix_ms < 0 || unix_ms >= INT64CONST(1) << 48)
		ereport(ERROR,
				errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				errmsg("timestamp out of range"));
	return uuid_of((uint64) unix_ms, zero);
}

PG_FUNCTION_INFO_V1(uuid_generate_v7);
Datum
uuid_generate_v7(PG_FUNCTION_ARGS)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	PG_RETURN_UUID_P(uuid_of((uint64) now.tv_sec * 1000 + now.tv_usec / 1000, false));
}

PG_FUNCTION_INFO_V1(uuid_v7_to_timestamptz);
Datum
uuid_v7_to_timestamptz(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(time_of(PG_GETARG_UUID_P(0)));
}

PG_FUNCTION_INFO_V1(uuid_timestamptz_to_v7);
Datum
uuid_timestamptz_to_v7(PG_FUNCTION_ARGS)
{
	PG_RETURN_UUID_P(uuid_at(PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_BOOL(1)));
}
