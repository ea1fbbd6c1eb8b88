-- Changing: single rows by key, whole sets, upserts, merges, cascades, truncation, DDL, COPY, maintenance, procedural code.
UPDATE customers SET score = score + 1 WHERE id % 4 = 0;
UPDATE customers SET city = upper(city), profile = profile || '{"seen": 1}' WHERE id BETWEEN 1000 AND 4000;
UPDATE orders o SET total = s.sum FROM (SELECT order_id, sum(amount * price) FROM lines GROUP BY 1) s WHERE s.order_id = o.id;
UPDATE products SET stock = stock - 1, price = price * 1.01 WHERE id % 10 = 3;
DELETE FROM orders WHERE id % 97 = 0;
INSERT INTO customers (id, name, email) SELECT i, 'again ' || i, 'user' || i || '@example.org' FROM generate_series(19000, 19999) i ON CONFLICT (email) DO UPDATE SET name = excluded.name, score = coalesce(customers.score, 0) + 1;
INSERT INTO products (id, title, price) SELECT i, 'new thing ' || i, i FROM generate_series(4800, 5300) i ON CONFLICT DO NOTHING RETURNING id, words;
MERGE INTO products p USING (SELECT i AS id, i * 2 AS stock FROM generate_series(5100, 5500) i) s ON p.id = s.id WHEN MATCHED THEN UPDATE SET stock = s.stock WHEN NOT MATCHED THEN INSERT (id, title, price, stock) VALUES (s.id, 'merged ' || s.id, 1, s.stock);
CREATE TABLE plain (a int, b int, c text);
DO $$
DECLARE i int; t text; n numeric := 0; r record; found int[] := '{}';
BEGIN
  FOR i IN 1..6000 LOOP
    INSERT INTO plain VALUES (i, (i * 7919) % 10007, 'row number ' || i);
  END LOOP;
  FOR i IN 1..4000 LOOP
    SELECT c INTO t FROM plain WHERE a = i AND b >= 0 LIMIT 1;
    EXIT WHEN i > 40;
  END LOOP;
  FOR r IN SELECT id, name, score FROM customers WHERE id < 3000 LOOP
    n := n + coalesce(r.score, 0);
    IF r.id % 100 = 0 THEN found := found || r.id; ELSIF r.name LIKE 'A%' THEN n := n - 1; END IF;
  END LOOP;
  FOR i IN 1..300 LOOP
    BEGIN
      INSERT INTO products (id, title, price) VALUES (i, 'dup', 1);
    EXCEPTION WHEN unique_violation THEN n := n + 1;
    END;
  END LOOP;
  EXECUTE format('CREATE TEMP TABLE made AS SELECT %s AS n, %L::int[] AS a', n, found);
END $$;
CREATE INDEX plain_a ON plain (a);
CREATE INDEX plain_b ON plain (b, c);
DO $$
DECLARE i int; s bigint := 0; v int;
BEGIN
  FOR i IN 1..12000 LOOP
    SELECT b INTO v FROM plain WHERE a = 1 + (i * 31) % 6000;
    s := s + coalesce(v, 0);
    IF i % 3 = 0 THEN UPDATE plain SET b = b + 1 WHERE a = 1 + i % 6000; END IF;
    IF i % 40 = 0 THEN DELETE FROM plain WHERE a = i / 40; INSERT INTO plain VALUES (i / 40, i, 'back'); END IF;
  END LOOP;
END $$;
CREATE FUNCTION fib(n int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN IF n < 2 THEN RETURN n; END IF; RETURN fib(n - 1) + fib(n - 2); END $$;
SELECT fib(17);
CREATE FUNCTION add_one(i int) RETURNS int LANGUAGE sql IMMUTABLE RETURN i + 1;
SELECT sum(add_one(a)), sum(abs(b - a)) FROM plain;
COPY plain TO '/tmp/plain.txt';
COPY plain TO '/tmp/plain.csv' (FORMAT csv, HEADER, QUOTE '"');
COPY lines TO '/tmp/lines.bin' (FORMAT binary);
CREATE TABLE plain2 (LIKE plain INCLUDING ALL);
COPY plain2 FROM '/tmp/plain.txt';
COPY plain2 FROM '/tmp/plain.csv' (FORMAT csv, HEADER);
CREATE TABLE lines2 (LIKE lines);
COPY lines2 FROM '/tmp/lines.bin' (FORMAT binary);
CREATE TABLE big AS SELECT i, repeat(md5(i::text), 200) AS wide FROM generate_series(1, 300) i;
UPDATE big SET wide = wide || 'x' WHERE i % 2 = 0;
SELECT sum(length(wide)), count(DISTINCT substr(wide, 100, 50)) FROM big;
ALTER TABLE plain2 ADD COLUMN d int DEFAULT 7, ALTER COLUMN b TYPE bigint;
ALTER TABLE plain2 ADD CONSTRAINT positive CHECK (a > 0) NOT VALID;
CREATE VIEW rich AS SELECT c.*, o.n FROM customers c LEFT JOIN (SELECT customer, count(*) n FROM orders GROUP BY 1) o ON o.customer = c.id WHERE score > 500;
CREATE MATERIALIZED VIEW per_city AS SELECT city, count(*), sum(n) FROM rich GROUP BY city;
REFRESH MATERIALIZED VIEW per_city;
SELECT * FROM per_city ORDER BY 1;
BEGIN; SAVEPOINT a; DELETE FROM lines2; ROLLBACK TO a; INSERT INTO lines2 SELECT * FROM lines WHERE order_id < 3000; COMMIT;
BEGIN; DECLARE c SCROLL CURSOR FOR SELECT * FROM customers ORDER BY name; FETCH 500 FROM c; MOVE 1000 IN c; FETCH BACKWARD 100 FROM c; CLOSE c; COMMIT;
PREPARE look (int) AS SELECT * FROM customers WHERE id = $1;
EXECUTE look (5); EXECUTE look (500); EXECUTE look (5000); EXECUTE look (50); EXECUTE look (51); EXECUTE look (52); EXECUTE look (53);
TRUNCATE lines2;
DROP TABLE plain2, lines2 CASCADE;
SELECT c.relname, a.attname, t.typname, pg_get_indexdef(i.indexrelid), obj_description(c.oid) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_index i ON i.indrelid = c.oid WHERE c.relkind = 'r' AND a.attnum > 0 ORDER BY 1, a.attnum;
SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position;
SELECT pg_size_pretty(pg_total_relation_size(oid)), relname FROM pg_class WHERE relkind = 'r' ORDER BY relpages DESC LIMIT 20;
