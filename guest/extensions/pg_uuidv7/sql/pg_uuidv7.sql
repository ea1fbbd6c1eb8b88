CREATE EXTENSION pg_uuidv7;
SET timezone = 'UTC';
SELECT uuid_timestamptz_to_v7('2023-01-01 12:34:56.789+00', true);
SELECT uuid_v7_to_timestamptz('018570bb-4a7d-7c7e-8df4-6d47afd8c8fc') AT TIME ZONE 'UTC' = timestamp '2023-01-02 04:26:40.637';
SELECT uuid_v7_to_timestamp(uuid_timestamp_to_v7('1999-12-31 23:59:59.999')) = timestamp '1999-12-31 23:59:59.999';
SELECT count(*) FROM generate_series(1, 1000) g, LATERAL (SELECT uuid_generate_v7() AS u) v
	WHERE uuid_extract_version(u) <> 7 OR abs(extract(epoch FROM clock_timestamp() - uuid_v7_to_timestamptz(u))) > 5;
SELECT uuid_extract_timestamp(u) = uuid_v7_to_timestamptz(u) FROM uuid_generate_v7() u;
SELECT uuid_timestamptz_to_v7('infinity');
SELECT uuid_timestamptz_to_v7('1960-01-01');
