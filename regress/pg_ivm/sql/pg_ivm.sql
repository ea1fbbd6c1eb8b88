-- Incremental views follow their tables: aggregates, joins, DISTINCT, EXISTS, CTEs. Expected: what the same SQL says on native PostgreSQL 18.6 with pg_ivm built for it.
CREATE EXTENSION pg_ivm;
SET client_min_messages = warning;
CREATE TABLE item (id int PRIMARY KEY, name text, price int);
CREATE TABLE sale (id serial PRIMARY KEY, item int, amount int);
INSERT INTO item VALUES (1, 'tea', 3), (2, 'salt', 1), (3, 'rum', 20);
INSERT INTO sale (item, amount) VALUES (1, 10), (1, 5), (2, 7), (3, 1);

SELECT pgivm.create_immv('total', 'SELECT item, count(*) AS n, sum(amount) AS amount, avg(amount)::numeric(9, 2) AS mean, min(amount) AS least, max(amount) AS most FROM sale GROUP BY item');
SELECT pgivm.create_immv('total', 'SELECT item, count(*) AS n, sum(amount) AS amount, avg(amount) AS mean, min(amount) AS least, max(amount) AS most FROM sale GROUP BY item');
SELECT pgivm.create_immv('bill', 'SELECT s.id, i.name, s.amount * i.price AS cost FROM sale s JOIN item i ON i.id = s.item');
SELECT pgivm.create_immv('sold', 'SELECT DISTINCT item FROM sale');
SELECT pgivm.create_immv('wanted', 'SELECT i.id, i.name FROM item i WHERE EXISTS (SELECT 1 FROM sale s WHERE s.item = i.id)');
SELECT pgivm.create_immv('dear', 'WITH d AS (SELECT * FROM item WHERE price > 2) SELECT d.id, d.name FROM d');
CREATE VIEW state AS
  SELECT 'total' AS what, count(*) AS rows, sum(amount) AS value FROM total UNION ALL
  SELECT 'bill', count(*), sum(cost) FROM bill UNION ALL
  SELECT 'sold', count(*), sum(item) FROM sold UNION ALL
  SELECT 'wanted', count(*), sum(id) FROM wanted UNION ALL
  SELECT 'dear', count(*), sum(id) FROM dear;
TABLE state;

-- each kind of change, alone and together
INSERT INTO sale (item, amount) SELECT 1 + g % 3, g FROM generate_series(1, 100) g;
TABLE state;
UPDATE sale SET amount = amount + 1 WHERE item = 2;
TABLE state;
UPDATE item SET price = price * 2 WHERE id = 1;
TABLE state;
DELETE FROM sale WHERE item = 3;
TABLE state;
SELECT item, n, amount, round(mean, 4) AS mean, least, most FROM total ORDER BY item;
WITH new AS (INSERT INTO item VALUES (4, 'ice', 5) RETURNING id), sold AS (INSERT INTO sale (item, amount) SELECT id, 2 FROM new RETURNING id) DELETE FROM sale WHERE amount = 7;
TABLE state;
-- the same as what its definition says
SELECT count(*) FROM (SELECT id, name, cost FROM bill EXCEPT ALL SELECT s.id, i.name, s.amount * i.price FROM sale s JOIN item i ON i.id = s.item) AS x;
SELECT count(*) FROM (SELECT item, n, amount FROM total EXCEPT ALL SELECT item, count(*), sum(amount) FROM sale GROUP BY item) AS x;

-- transactions and subtransactions
BEGIN;
INSERT INTO sale (item, amount) VALUES (3, 1000);
SAVEPOINT a;
DELETE FROM sale;
TABLE state;
ROLLBACK TO a;
TABLE state;
ROLLBACK;
TABLE state;
DO $$
BEGIN
  FOR n IN 1..5 LOOP
    BEGIN
      INSERT INTO sale (item, amount) VALUES (2, n);
      IF n % 2 = 0 THEN
        RAISE EXCEPTION 'no % here', n;
      END IF;
    EXCEPTION WHEN raise_exception THEN
      RAISE WARNING 'caught: %', SQLERRM;
    END;
  END LOOP;
END $$;
TABLE state;

-- errors are the server's, and leave everything usable
SELECT pgivm.create_immv('bad', 'SELECT random() FROM sale');
SELECT pgivm.create_immv('bad', 'SELECT item FROM sale LIMIT 1');
SELECT pgivm.create_immv('bad', 'SELECT nowhere FROM sale');
SELECT pgivm.create_immv('bad', 'SELECT item, array_agg(amount) FROM sale GROUP BY item');
SELECT pgivm.create_immv('bad', 'INSERT INTO sale VALUES (1)');
INSERT INTO total VALUES (1, 1, 1);
UPDATE bill SET cost = 0;
DELETE FROM sold;
TRUNCATE wanted;
INSERT INTO sale (item, amount) VALUES (1, 2147483647), (1, 2147483647);
DELETE FROM sale WHERE amount = 2147483647;
TABLE state;

-- without maintenance, then again with it
SELECT pgivm.refresh_immv('total', false);
INSERT INTO sale (item, amount) VALUES (2, 500);
SELECT amount FROM total WHERE item = 2;
SELECT pgivm.refresh_immv('total', true);
SELECT amount FROM total WHERE item = 2;
SELECT pgivm.get_immv_def('sold');
ALTER TABLE sold RENAME TO things_sold;
SELECT immvrelid::text, ispopulated FROM pgivm.pg_ivm_immv ORDER BY immvrelid::regclass::text;
TRUNCATE sale;
SELECT count(*) FROM total;
DROP TABLE bill;
SELECT count(*) FROM pgivm.pg_ivm_immv;
DROP TABLE sale;
DROP EXTENSION pg_ivm CASCADE;
