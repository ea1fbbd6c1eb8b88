CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE product (
    id bigserial PRIMARY KEY, label text NOT NULL UNIQUE, small int2, normal int4, amount numeric(20, 4), ratio float8, raw bytea, flag bool, key uuid,
    day date, clock time, moment timestamptz, span interval, doc json, docb jsonb, numbers int4[], words text[], address inet, feeling mood
);
