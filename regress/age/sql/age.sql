-- Graphs and openCypher. Expected: what the same SQL says on native PostgreSQL 18.6 with AGE built for it.
CREATE EXTENSION age;
SET search_path = ag_catalog, "$user", public;
SELECT create_graph('social');
SELECT create_graph('social');
SELECT create_vlabel('social', 'Person');
SELECT create_elabel('social', 'KNOWS');

-- writing
SELECT * FROM cypher('social', $$ CREATE (a:Person {name: 'Ada', born: 1815})-[:KNOWS {since: 1833}]->(b:Person {name: 'Charles', born: 1791}) RETURN a, b.name $$) AS (a agtype, name agtype);
SELECT * FROM cypher('social', $$ UNWIND ['Mary', 'John', 'Grace'] AS n CREATE (p:Person {name: n}) RETURN p.name $$) AS (name agtype);
SELECT * FROM cypher('social', $$ MATCH (a:Person {name: 'Charles'}), (b:Person {name: 'John'}) CREATE (a)-[r:KNOWS {since: 1822}]->(b) RETURN r.since $$) AS (since agtype);
SELECT * FROM cypher('social', $$ MATCH (a:Person {name: 'John'}), (b:Person {name: 'Ada'}) CREATE (a)-[:WROTE {year: 1840.5, tags: ['x', {y: null}]}]->(b) $$) AS (r agtype);
SELECT * FROM cypher('social', $$ MERGE (p:Person {name: 'Grace'}) RETURN p.name $$) AS (n agtype);
SELECT * FROM cypher('social', $$ MERGE (p:Person {name: 'Kurt'}) RETURN p.name $$) AS (n agtype);
SELECT * FROM cypher('social', $$ MATCH (p:Person {name: 'Kurt'}) SET p.born = 1906, p.field = 'logic' RETURN properties(p) $$) AS (p agtype);
SELECT * FROM cypher('social', $$ MATCH (p:Person {name: 'Kurt'}) REMOVE p.field RETURN properties(p) $$) AS (p agtype);

-- reading
SELECT * FROM cypher('social', $$ MATCH (p:Person) RETURN p.name, p.born ORDER BY p.name $$) AS (name agtype, born agtype);
SELECT * FROM cypher('social', $$ MATCH (p:Person) WHERE p.born IS NOT NULL AND p.born < 1900 RETURN p.name ORDER BY p.born DESC SKIP 1 LIMIT 5 $$) AS (name agtype);
SELECT * FROM cypher('social', $$ MATCH (a)-[r:KNOWS]->(b) RETURN a.name, type(r), b.name ORDER BY r.since $$) AS (a agtype, t agtype, b agtype);
SELECT * FROM cypher('social', $$ MATCH p = (a:Person {name: 'Ada'})-[:KNOWS*1..3]->(b) RETURN length(p), b.name ORDER BY length(p) $$) AS (n agtype, b agtype);
SELECT * FROM cypher('social', $$ MATCH p = (a {name: 'Ada'})-[*]->(a) RETURN length(p), [n IN nodes(p) | n.name] $$) AS (n agtype, names agtype);
SELECT * FROM cypher('social', $$ OPTIONAL MATCH (a:Person {name: 'Nobody'}) RETURN a $$) AS (a agtype);
SELECT * FROM cypher('social', $$ MATCH (a:Person) WHERE EXISTS ((a)-[:KNOWS]->()) RETURN a.name ORDER BY a.name $$) AS (a agtype);
SELECT * FROM cypher('social', $$ MATCH (a:Person) OPTIONAL MATCH (a)-[r]->() RETURN a.name, count(r) ORDER BY count(r) DESC, a.name $$) AS (a agtype, n agtype);
SELECT * FROM cypher('social', $$ MATCH (a:Person) WITH collect(a.name) AS names UNWIND names AS n WITH n WHERE n STARTS WITH 'J' OR n CONTAINS 'r' RETURN n ORDER BY n $$) AS (n agtype);
SELECT * FROM cypher('social', $$ RETURN 1 UNION RETURN 2 UNION ALL RETURN 2 $$) AS (n agtype);

-- expressions
SELECT * FROM cypher('social', $$ RETURN 'x' + 1.5, [1, 2, 3][1], {a: 1, b: {c: 2.5}}.b.c, toUpper('abc'), range(1, 9, 4), 7 % 4, 2 ^ 10, -(-3) $$) AS (a agtype, b agtype, c agtype, d agtype, e agtype, f agtype, g agtype, h agtype);
SELECT * FROM cypher('social', $$ RETURN CASE WHEN 1 > 2 THEN 'no' ELSE 'yes' END, coalesce(null, 5), size([1, 2]), reverse('abc'), substring('hello', 1, 3), split('a,b', ','), toInteger('42'), abs(-1.5), round(2.5), 'abc' =~ 'a.*' $$) AS (a agtype, b agtype, c agtype, d agtype, e agtype, f agtype, g agtype, h agtype, i agtype, j agtype);
SELECT * FROM cypher('social', $$ UNWIND [3, 1, 2, 2] AS x RETURN collect(x), sum(x), avg(x), min(x), max(x), count(DISTINCT x), stDev(x) $$) AS (a agtype, b agtype, c agtype, d agtype, e agtype, f agtype, g agtype);
SELECT '{"a": 1, "b": [1, 2.5, "x", null, true]}'::agtype -> '"b"'::agtype, '[1, 2]'::agtype @> '1'::agtype, '1'::agtype < '"a"'::agtype, '1.5'::agtype + '2'::agtype;
SELECT '1'::agtype::int8 + 1, '"text"'::agtype::text, agtype_build_map('k', 1, 'l', 'v'), agtype_build_list(1, 'a');

-- parameters, and joined with tables
PREPARE born(agtype) AS SELECT * FROM cypher('social', $$ MATCH (p:Person) WHERE p.born > $year RETURN p.name ORDER BY p.name $$, $1) AS (name agtype);
EXECUTE born('{"year": 1800}');
CREATE TABLE public.prize (who text, year int);
INSERT INTO public.prize VALUES ('Kurt', 1951), ('Ada', 1843);
SELECT prize.year, g.name FROM public.prize, cypher('social', $$ MATCH (p:Person) RETURN p.name $$) AS g(name agtype) WHERE prize.who = g.name::text ORDER BY 1;

-- deleting, and transactions
SELECT * FROM cypher('social', $$ MATCH (p:Person {name: 'Charles'}) DELETE p $$) AS (p agtype);
SELECT * FROM cypher('social', $$ MATCH (p:Person {name: 'Charles'}) DETACH DELETE p $$) AS (p agtype);
SELECT * FROM cypher('social', $$ MATCH ()-[r]->() RETURN count(r) $$) AS (n agtype);
BEGIN;
SELECT * FROM cypher('social', $$ MATCH (p) DETACH DELETE p $$) AS (p agtype);
SELECT * FROM cypher('social', $$ MATCH (p) RETURN count(p) $$) AS (n agtype);
ROLLBACK;
SELECT * FROM cypher('social', $$ MATCH (p) RETURN count(p) $$) AS (n agtype);
DO $$
BEGIN
  PERFORM * FROM cypher('social', $q$ RETURN 1 / 0 $q$) AS (n agtype);
EXCEPTION WHEN division_by_zero THEN
  RAISE NOTICE 'caught: %', SQLERRM;
END $$;

-- errors
SELECT * FROM cypher('social', $$ MATCH (a RETURN a $$) AS (a agtype);
SELECT * FROM cypher('nowhere', $$ RETURN 1 $$) AS (a agtype);
SELECT * FROM cypher('social', $$ RETURN nofunction(1) $$) AS (a agtype);
SELECT * FROM cypher('social', $$ RETURN a $$) AS (a agtype);
SELECT * FROM cypher('social', $$ RETURN 'a' - 1 $$) AS (a agtype);
SELECT * FROM cypher('social', $$ RETURN 1, 2 $$) AS (a agtype);
SELECT cypher('social', 'RETURN 1');
SELECT '{"a":'::agtype;
SELECT count(*) FROM ag_label WHERE graph = (SELECT graphid FROM ag_graph WHERE name = 'social');
EXPLAIN (COSTS OFF) SELECT * FROM cypher('social', $$ MATCH (a:Person {name: 'Ada'}) RETURN a $$) AS (a agtype);

SET client_min_messages = warning;
SELECT drop_graph('social', true);
SELECT count(*) FROM ag_graph;
DROP EXTENSION age CASCADE;
