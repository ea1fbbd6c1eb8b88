-- Ten of the sixty tables: keys, constraints, indexes, a few rows.
DO $$
DECLARE
    n int;
BEGIN
    FOR n IN 40..49 LOOP
        EXECUTE format('CREATE TABLE thing_%s (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE, amount numeric(12, 2) NOT NULL DEFAULT 0 CHECK (amount >= 0), '
            'tags text[] NOT NULL DEFAULT ''{}'', details jsonb, created_at timestamptz NOT NULL DEFAULT now())', n);
        EXECUTE format('CREATE INDEX ON thing_%s (created_at)', n);
        EXECUTE format('CREATE INDEX ON thing_%s USING gin (details)', n);
        IF n > 0 THEN
            EXECUTE format('ALTER TABLE thing_%s ADD COLUMN parent bigint REFERENCES thing_%s', n, n - 1);
        END IF;
        EXECUTE format('INSERT INTO thing_%s (name, amount, details) SELECT ''seed '' || g, g, jsonb_build_object(''n'', g) FROM generate_series(1, 10) g', n);
    END LOOP;
END
$$;
