-- Tables of a shop, loaded in the ways applications load: set-based, row by row, through triggers, foreign keys and generated columns.
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, email text UNIQUE, city text, joined date, score numeric(10,2), tags text[], profile jsonb);
CREATE TABLE products (id int PRIMARY KEY, title text NOT NULL, price numeric(12,2) CHECK (price >= 0), stock int NOT NULL DEFAULT 0, words tsvector GENERATED ALWAYS AS (to_tsvector('english', title)) STORED);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers, placed timestamptz NOT NULL, state text NOT NULL, total numeric(14,2));
CREATE TABLE lines (order_id bigint REFERENCES orders ON DELETE CASCADE, line int, product int REFERENCES products, amount int, price float8, PRIMARY KEY (order_id, line));
CREATE TABLE audit (at timestamptz DEFAULT now(), tab text, op text, old jsonb, new jsonb);
CREATE TABLE events (id bigint, kind int, at timestamp, payload text, value float8) PARTITION BY RANGE (kind);
CREATE TABLE events_0 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (10) TO (20);
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (20) TO (100);

INSERT INTO customers (name, email, city, joined, score, tags, profile)
SELECT initcap(md5(i::text)), 'user' || i || '@example.org', (ARRAY['Oslo','Lima','Pune','Kyiv','Accra','Turin','Quito'])[1 + i % 7], date '2015-01-01' + i % 3000,
       (i * 37 % 100000) / 100.0, ARRAY['t' || i % 13, 't' || i % 29], jsonb_build_object('n', i, 'deep', jsonb_build_array(i, i * 2, 'x' || i), 'on', i % 2 = 0)
FROM generate_series(1, 20000) i;
INSERT INTO products (id, title, price, stock)
SELECT i, 'The ' || (ARRAY['quick','lazy','running','jumped','flying','silent','green'])[1 + i % 7] || ' ' || (ARRAY['engines','boxes','tables','stories','babies','leaves'])[1 + i % 6] || ' no ' || i, (i * 7919 % 50000) / 100.0, i % 500
FROM generate_series(1, 5000) i;
INSERT INTO orders (customer, placed, state, total)
SELECT 1 + (i * 7919) % 20000, timestamptz '2020-01-01 00:00+00' + i * interval '7 minutes', (ARRAY['new','paid','sent','done','void'])[1 + i % 5], 0 FROM generate_series(1, 40000) i;
INSERT INTO lines SELECT 1 + i / 3, i % 3, 1 + (i * 31) % 5000, 1 + i % 9, random() * 100 FROM generate_series(0, 119999) i;
INSERT INTO events SELECT i, i % 60, timestamp '2024-01-01' + i * interval '3 seconds', repeat(chr(97 + i % 26), i % 60), sin(i) * 1000 FROM generate_series(1, 60000) i;

CREATE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit (tab, op, old, new) VALUES (TG_TABLE_NAME, TG_OP, CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
  RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER products_audit AFTER INSERT OR UPDATE OR DELETE ON products FOR EACH ROW EXECUTE FUNCTION log_change();

CREATE INDEX ON orders (customer, placed DESC);
CREATE INDEX ON orders (state) WHERE state <> 'done';
CREATE INDEX ON lines (product);
CREATE INDEX ON customers USING gin (tags);
CREATE INDEX ON customers USING gin (profile jsonb_path_ops);
CREATE INDEX ON customers (lower(name) text_pattern_ops);
CREATE INDEX ON customers USING hash (city);
CREATE INDEX ON products USING gin (words);
CREATE INDEX ON events USING brin (at);
CREATE INDEX ON events (id);
ANALYZE;
