"""psycopg2."""

import io
import ipaddress
import select
import threading

import psycopg2
import psycopg2.extras
import pytest
from psycopg2 import errors, sql
from psycopg2.pool import ThreadedConnectionPool

from samples import DOCUMENT, PLACE, SCHEMA, URL, VALUES, with_sslmode

psycopg2.extras.register_uuid()
psycopg2.extras.register_ipaddress()


@pytest.fixture
def db():
    connection = psycopg2.connect(URL)
    connection.autocommit = True
    connection.cursor().execute(SCHEMA)
    yield connection
    connection.close()


def one(db, query, parameters=None):
    with db.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()


def test_types(db):
    row = {**VALUES, "doc": psycopg2.extras.Json(DOCUMENT), "docb": psycopg2.extras.Json(DOCUMENT), "feeling": "happy", "address": ipaddress.ip_interface("192.168.0.1")}
    cursor = db.cursor()
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    insert = sql.SQL("INSERT INTO sample ({}) VALUES ({})").format(names, sql.SQL(", ").join(map(sql.Placeholder, row)))
    cursor.execute(insert, row)
    cursor.execute("INSERT INTO sample (label) VALUES (%s)", [None])
    cursor.execute(sql.SQL("SELECT {} FROM sample ORDER BY id").format(names))
    got = dict(zip(row, cursor.fetchone()))
    got["raw"] = bytes(got["raw"])
    assert got == {**row, "doc": DOCUMENT, "docb": DOCUMENT}
    assert cursor.fetchone() == (None,) * len(row)


def test_transactions_savepoints_and_sqlstate(db):
    db.autocommit = False
    cursor = db.cursor()
    cursor.execute("CREATE TEMP TABLE t (i int PRIMARY KEY); SAVEPOINT a; INSERT INTO t VALUES (1)")
    with pytest.raises(errors.UniqueViolation) as refused:
        cursor.execute("INSERT INTO t VALUES (1)")
    assert refused.value.pgcode == "23505"
    with pytest.raises(errors.InFailedSqlTransaction):
        cursor.execute("SELECT 1")
    cursor.execute("ROLLBACK TO a")
    assert one(db, "SELECT count(*) FROM t") == (0,)
    db.rollback()
    db.autocommit = True


def test_copy_both_ways(db):
    lines = "".join(f"{i}\trow {i}\n" for i in range(20_000))
    with db.cursor() as cursor:
        cursor.copy_expert("COPY sample (normal, label) FROM STDIN", io.StringIO(lines))
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT normal, label FROM sample ORDER BY 1) TO STDOUT", out)
    assert out.getvalue() == lines
    with db.cursor() as cursor, pytest.raises(errors.InvalidTextRepresentation):
        cursor.copy_expert("COPY sample (normal) FROM STDIN", io.StringIO("1\nno number\n"))
    assert one(db, "SELECT count(*) FROM sample") == (20_000,)


def test_notifications(db):
    db.cursor().execute("LISTEN events")
    other = psycopg2.connect(URL)
    other.autocommit = True
    other.cursor().execute("NOTIFY events, 'hello'")
    other.close()
    assert select.select([db], [], [], 10)[0]
    db.poll()
    assert [(note.channel, note.payload) for note in db.notifies] == [("events", "hello")]


def test_cancel(db):
    timer = threading.Timer(0.2, db.cancel)
    timer.start()
    with pytest.raises(errors.QueryCanceled):
        one(db, "SELECT pg_sleep(60)")
    timer.join()
    assert one(db, "SELECT 1") == (1,)


def test_server_side_cursor_and_execute_values(db):
    with db.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, "INSERT INTO sample (normal, label) VALUES %s", [(i, "x" * 1000) for i in range(20_000)])
    db.autocommit = False
    with db.cursor("big") as cursor:
        cursor.itersize = 500
        cursor.execute("SELECT normal, label FROM sample")
        assert sum(len(label) for _, label in cursor) == 20_000_000
    db.rollback()
    db.autocommit = True


def test_large_objects(db):
    db.autocommit = False
    large = db.lobject(0, "wb")
    large.write(b"x" * 300_000)
    large.seek(299_990)
    assert large.write(b"y" * 20) == 20
    again = db.lobject(large.oid, "rb").read()
    assert len(again) == 300_010 and again.endswith(b"xy" + b"y" * 19)
    db.rollback()
    db.autocommit = True


def test_pool_and_reconnect(db):
    pool = ThreadedConnectionPool(8, 16, URL)

    def work():
        connection = pool.getconn()
        with connection, connection.cursor() as cursor:
            for i in range(50):
                cursor.execute("INSERT INTO sample (normal) VALUES (%s)", [i])
        pool.putconn(connection)

    threads = [threading.Thread(target=work) for _ in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert one(db, "SELECT count(*) FROM sample") == (800,)
    victim = pool.getconn()
    one(db, "SELECT pg_terminate_backend(%s)", [victim.info.backend_pid])
    # It looks for the server's last words only where it reads: sometimes all it knows is that the connection is closed.
    with pytest.raises(psycopg2.OperationalError):
        one(victim, "SELECT 1")
    assert victim.closed
    pool.putconn(victim)
    fresh = pool.getconn()
    assert one(fresh, "SELECT 1") == (1,)
    pool.closeall()


def test_logical_replication_says_what_is_missing(db):
    # wal_level is what PostgreSQL's default is: `replica`.
    replication = psycopg2.connect(URL, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    with replication.cursor() as cursor, pytest.raises(psycopg2.Error) as refused:
        cursor.create_replication_slot("slot", output_plugin="pgoutput")
    assert refused.value.pgcode == "55000" and "wal_level" in str(refused.value)
    replication.close()


def test_sslmodes():
    for mode in ["disable", "allow", "prefer"]:
        psycopg2.connect(with_sslmode(mode)).close()
    if not PLACE.unix:
        with pytest.raises(psycopg2.OperationalError, match="server does not support SSL, but SSL was required"):
            psycopg2.connect(with_sslmode("require"))
