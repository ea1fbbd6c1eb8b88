-- BM25 indexes and their ranking. Expected: what the same SQL says on native PostgreSQL 18.6 with pg_textsearch built for it.
CREATE EXTENSION pg_textsearch;
CREATE TABLE doc (id int PRIMARY KEY, body text);
INSERT INTO doc VALUES
  (1, 'PostgreSQL is a database'), (2, 'the quick brown fox jumps over the lazy dog'), (3, 'a database of foxes: the fox database, database after database'),
  (4, 'nothing to see'), (5, 'databases store foxes'), (6, NULL), (7, ''), (8, 'Füchse und Straßen, größer als 日本語');
CREATE INDEX doc_bm25 ON doc USING bm25 (body) WITH (text_config = 'english');
SELECT id, round((body <@> 'database')::numeric, 6) AS score FROM doc ORDER BY body <@> 'database' LIMIT 5;
SELECT id, round((body <@> 'fox database')::numeric, 6) AS score FROM doc ORDER BY body <@> 'fox database' LIMIT 5;
SELECT id, round((body <@> to_bm25query('größer', 'doc_bm25'))::numeric, 6) AS score FROM doc ORDER BY body <@> to_bm25query('größer', 'doc_bm25') LIMIT 5;
SELECT id FROM doc ORDER BY body <@> 'absent' LIMIT 5;
SELECT 'fox'::bm25query, to_bm25query('a fox', 'doc_bm25');
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM doc ORDER BY body <@> 'database' LIMIT 2;
RESET enable_seqscan;

-- changes are seen at once, in the memtable and in segments
INSERT INTO doc SELECT g, 'generated document ' || g || CASE WHEN g % 10 = 0 THEN ' database database' ELSE ' words words' END FROM generate_series(10, 3000) g;
SELECT id FROM doc ORDER BY body <@> 'database' LIMIT 3;
SELECT id FROM doc ORDER BY body <@> '2999' LIMIT 3;
SELECT count(*) FROM (SELECT 1 FROM doc ORDER BY body <@> 'database' LIMIT 10000) AS found;
SELECT bm25_spill_index('doc_bm25') IS NOT NULL AS spilled;
SELECT count(*) FROM (SELECT 1 FROM doc ORDER BY body <@> 'database' LIMIT 10000) AS found;
INSERT INTO doc VALUES (4001, 'a late fox'), (4002, 'a late database of the late fox');
SELECT id FROM doc ORDER BY body <@> 'late fox' LIMIT 3;
UPDATE doc SET body = 'no longer there' WHERE id = 3;
DELETE FROM doc WHERE id IN (1, 2);
SELECT id FROM doc ORDER BY body <@> 'fox' LIMIT 5;
VACUUM doc;
SELECT id FROM doc ORDER BY body <@> 'fox' LIMIT 5;
SELECT count(*) FROM (SELECT 1 FROM doc ORDER BY body <@> 'database' LIMIT 10000) AS found;

-- transactions, and errors caught in them
BEGIN;
INSERT INTO doc VALUES (5001, 'unicorn');
SAVEPOINT a;
INSERT INTO doc VALUES (5002, 'unicorn unicorn');
SELECT id FROM doc ORDER BY body <@> 'unicorn' LIMIT 5;
ROLLBACK TO a;
SELECT id FROM doc ORDER BY body <@> 'unicorn' LIMIT 5;
ROLLBACK;
SELECT id FROM doc ORDER BY body <@> 'unicorn' LIMIT 5;
DO $$
BEGIN
  FOR n IN 1..3 LOOP
    BEGIN
      INSERT INTO doc VALUES (6000 + n, 'gryphon ' || n);
      EXECUTE 'CREATE INDEX bad ON doc USING bm25 (body) WITH (text_config = ''nowhere'')';
    EXCEPTION WHEN OTHERS THEN
      RAISE NOTICE 'caught: %', SQLERRM;
    END;
  END LOOP;
END $$;
SELECT id FROM doc ORDER BY body <@> 'gryphon' LIMIT 5;

-- other configurations, expressions, partial indexes
CREATE TABLE article (id serial PRIMARY KEY, title text, body text, public boolean);
INSERT INTO article (title, body, public) SELECT 'title ' || g, repeat('word' || g % 13 || ' ', g % 7 + 1) || 'common', g % 2 = 0 FROM generate_series(1, 500) g;
CREATE INDEX article_simple ON article USING bm25 (body) WITH (text_config = 'simple', k1 = 1.5, b = 0.5);
SELECT id, round((body <@> to_bm25query('word3', 'article_simple'))::numeric, 6) AS score FROM article ORDER BY body <@> to_bm25query('word3', 'article_simple'), id LIMIT 3;
REINDEX INDEX article_simple;
SELECT count(*) FROM (SELECT 1 FROM article ORDER BY body <@> to_bm25query('common', 'article_simple') LIMIT 10000) AS found;
SELECT bm25_force_merge('article_simple');
SELECT count(*) FROM (SELECT 1 FROM article ORDER BY body <@> to_bm25query('common', 'article_simple') LIMIT 10000) AS found;

-- errors
CREATE INDEX bad ON doc USING bm25 (body);
CREATE INDEX bad ON doc USING bm25 (id) WITH (text_config = 'english');
CREATE INDEX bad ON doc USING bm25 (body) WITH (text_config = 'english', k1 = 100);
SELECT to_bm25query('x', 'nowhere');
SELECT id FROM doc ORDER BY body <@> to_bm25query('x', 'doc_pkey') LIMIT 1;
DROP TABLE doc, article;
DROP EXTENSION pg_textsearch;
