CREATE EXTENSION pg_hashids;
SELECT id_encode(1001);
SELECT id_encode(1234567, 'This is my salt');
SELECT id_encode(1234567, 'This is my salt', 10);
SELECT id_encode(1234567, 'This is my salt', 10, 'abcdefghijABCDxFGHIJ1234567890');
SELECT id_decode('PlRPdzxpR7', 'This is my salt', 10);
SELECT id_decode('3GJ956J9B9', 'This is my salt', 10, 'abcdefghijABCDxFGHIJ1234567890');
SELECT id_decode_once('jNl');
-- every number comes back, and so do lists of numbers
SELECT count(*) FROM generate_series(0, 20000, 7) g WHERE id_decode_once(id_encode(g, 's', g % 30), 's', g % 30) IS DISTINCT FROM g;
SELECT count(*) FROM generate_series(1, 2000) g WHERE id_decode(id_encode(ARRAY[g, g * 1000003::bigint, 0], 'salt', g % 60), 'salt', g % 60) IS DISTINCT FROM ARRAY[g, g * 1000003::bigint, 0];
SELECT id_decode('not an id!'), id_decode('PlRPdzxpR7', 'another salt', 10);
SELECT id_encode(1, '', 0, 'abc');
