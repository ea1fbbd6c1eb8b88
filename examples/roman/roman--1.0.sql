\echo Use "CREATE EXTENSION roman" to load this file. \quit

CREATE FUNCTION to_roman(integer) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION from_roman(text) RETURNS integer
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- like from_roman, but null instead of an error
CREATE FUNCTION try_from_roman(text) RETURNS integer
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- the numerals among the words of a text, in the order of their values
CREATE FUNCTION roman_words(text) RETURNS text[]
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
