\echo Use "CREATE EXTENSION pg_uuidv7" to load this file. \quit

CREATE FUNCTION uuid_generate_v7() RETURNS uuid
	AS 'MODULE_PATHNAME', 'uuid_generate_v7' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;

CREATE FUNCTION uuid_v7_to_timestamptz(uuid) RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'uuid_v7_to_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION uuid_timestamptz_to_v7(timestamptz, zero bool = false) RETURNS uuid
	AS 'MODULE_PATHNAME', 'uuid_timestamptz_to_v7' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;

-- a timestamp without time zone stands for UTC
CREATE FUNCTION uuid_v7_to_timestamp(uuid) RETURNS timestamp
	AS 'MODULE_PATHNAME', 'uuid_v7_to_timestamptz' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION uuid_timestamp_to_v7(timestamp, zero bool = false) RETURNS uuid
	AS 'MODULE_PATHNAME', 'uuid_timestamptz_to_v7' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
