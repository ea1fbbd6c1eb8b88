#!/bin/sh
# PostgreSQL's own programs, native ones, against the server that the environment names. PGBIN is their directory.
set -eu
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT

value() { "$PGBIN/psql" -XAtq -v ON_ERROR_STOP=1 -c "$1" "${2:-postgres}"; }

"$PGBIN/pg_isready" -q
[ "$(value 'SELECT 6 * 7')" = 42 ]
"$PGBIN/psql" -XAtq "$DATABASE_URL" -c 'SELECT 1' > /dev/null
echo 'ok psql by environment and by URL'

printf 'a,b\n1,one\n2,"t,wo"\n' > in.csv
"$PGBIN/psql" -Xq -v ON_ERROR_STOP=1 <<'SQL'
SET client_min_messages = warning;
DROP TABLE IF EXISTS csv;
CREATE TABLE csv (a int, b text);
\copy csv FROM in.csv (FORMAT csv, HEADER)
\copy csv TO out.csv (FORMAT csv, HEADER)
SQL
cmp in.csv out.csv
echo 'ok psql COPY both ways'

status=0
value 'SELECT 1 / 0' 2> error.txt || status=$?
[ $status = 1 ] && grep -q 'division by zero' error.txt
status=0
"$PGBIN/psql" -XAtq -c 'SELECT pg_sleep(60)' 2> error.txt & pid=$!
sleep 0.5
kill -INT $pid
wait $pid || status=$?
[ $status != 0 ]
echo 'ok errors and Ctrl-C'

"$PGBIN/createdb" bench
"$PGBIN/pgbench" -q -i -s 2 bench 2> /dev/null
for mode in simple extended prepared; do
    "$PGBIN/pgbench" -n -M $mode -c 8 -j 2 -t 100 bench 2>&1 | grep -q 'number of transactions actually processed: 800/800'
done
"$PGBIN/pgbench" -n -C -S -c 4 -t 20 bench > /dev/null 2>&1
echo 'ok pgbench in every protocol'

"$PGBIN/pg_dump" -Fc -f bench.dump bench
"$PGBIN/pg_dump" -Fd -j 2 -f bench.dir bench
for copy in bench.dump bench.dir; do
    "$PGBIN/createdb" copy
    "$PGBIN/pg_restore" -j 2 -d copy $copy
    [ "$(value 'SELECT count(*) FROM pgbench_accounts' copy)" = 200000 ]
    "$PGBIN/dropdb" copy
done
"$PGBIN/pg_dumpall" > all.sql
grep -q 'CREATE DATABASE bench' all.sql
"$PGBIN/dropdb" --force bench
echo 'ok pg_dump, pg_restore, pg_dumpall'

"$PGBIN/vacuumdb" -q --all --analyze
"$PGBIN/reindexdb" -q postgres
"$PGBIN/pg_basebackup" -D backup -X stream -c fast
[ -f backup/PG_VERSION ]
echo 'ok vacuumdb, reindexdb, pg_basebackup'
