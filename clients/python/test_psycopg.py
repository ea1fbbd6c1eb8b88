"""psycopg 3."""

import asyncio
import threading

import psycopg
import pytest
from psycopg import sql
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.json import Json, Jsonb
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from samples import DOCUMENT, PLACE, SCHEMA, URL, VALUES, with_sslmode


@pytest.fixture
def db():
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(SCHEMA)
        yield connection


@pytest.mark.parametrize("binary", [False, True])
def test_types(db, binary):
    import enum

    Mood = enum.Enum("Mood", ["sad", "ok", "happy"])
    register_enum(EnumInfo.fetch(db, "mood"), db, Mood)
    row = {**VALUES, "doc": Json(DOCUMENT), "docb": Jsonb(DOCUMENT), "feeling": Mood.happy}
    insert = sql.SQL("INSERT INTO sample ({}) VALUES ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Placeholder, row))
    )
    db.execute(insert, row)
    db.execute("INSERT INTO sample (label) VALUES (%s)", [None])
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    cursor = db.cursor(binary=binary)
    got = cursor.execute(sql.SQL("SELECT {} FROM sample ORDER BY id").format(names)).fetchall()
    want = {**row, "doc": DOCUMENT, "docb": DOCUMENT}
    assert dict(zip(row, got[0])) == want
    assert got[1] == (None,) * len(row)


def test_prepared_and_pipelined(db):
    for i in range(20):
        assert db.execute("SELECT %s::int + 1", [i], prepare=True).fetchone() == (i + 1,)
    assert db.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0] >= 1
    with db.pipeline():
        cursors = [db.execute("SELECT %s::int", [i]) for i in range(200)]
    assert [c.fetchone()[0] for c in cursors] == list(range(200))


def test_transactions_savepoints_and_sqlstate(db):
    db.execute("CREATE TEMP TABLE t (i int PRIMARY KEY)")
    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        with db.transaction():
            db.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(psycopg.errors.DivisionByZero), db.transaction():
                db.execute("INSERT INTO t VALUES (1 / 0)")
            db.execute("INSERT INTO t VALUES (1)")
    assert refused.value.sqlstate == "23505" and refused.value.diag.constraint_name == "t_pkey"
    assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_copy_both_ways(db):
    with db.cursor().copy("COPY sample (normal, label) FROM STDIN") as copy:
        for i in range(10_000):
            copy.write_row((i, f"row\t{i}"))
    assert db.execute("SELECT sum(normal) FROM sample").fetchone() == (49_995_000,)
    with db.cursor().copy("COPY (SELECT normal, label FROM sample ORDER BY normal) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        rows = list(copy.rows())
    assert len(rows) == 10_000 and rows[77] == (77, "row\t77")
    # The client's own error ends the copy, and the session goes on.
    with pytest.raises(ZeroDivisionError):
        with db.cursor().copy("COPY sample (normal) FROM STDIN") as copy:
            copy.write_row((1,))
            1 / 0
    assert db.execute("SELECT 1").fetchone() == (1,)


def test_notifications(db):
    db.execute("LISTEN events")
    with psycopg.connect(URL, autocommit=True) as other:
        other.execute("NOTIFY events, 'hello'")
    note = next(db.notifies(timeout=10))
    assert (note.channel, note.payload) == ("events", "hello")


def test_cancel(db):
    timer = threading.Timer(0.2, db.cancel_safe)
    timer.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        db.execute("SELECT pg_sleep(60)")
    timer.join()
    timer = threading.Timer(0.2, db.cancel)
    timer.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        db.execute("SELECT pg_sleep(60)")
    assert db.execute("SELECT 1").fetchone() == (1,)


def test_stream_and_server_side_cursor(db):
    assert sum(i for (i,) in db.cursor().stream("SELECT generate_series(1, 100000)")) == 5_000_050_000
    with db.transaction(), db.cursor(name="big") as cursor:
        cursor.itersize = 1000
        cursor.execute("SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i")
        assert sum(len(text) for _, text in cursor) == 20_000_000


def test_pool_and_reconnect(db):
    with ConnectionPool(URL, min_size=8, max_size=16, kwargs={"autocommit": True}, check=ConnectionPool.check_connection) as pool:
        pool.wait()

        def work(number):
            for _ in range(20):
                with pool.connection() as connection:
                    connection.execute("INSERT INTO sample (normal) VALUES (%s)", [number])

        threads = [threading.Thread(target=work, args=[i]) for i in range(16)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert db.execute("SELECT count(*) FROM sample").fetchone() == (320,)
        with pool.connection() as connection:
            pid = connection.info.backend_pid
            db.execute("SELECT pg_terminate_backend(%s)", [pid])
            with pytest.raises(psycopg.errors.AdminShutdown):
                connection.execute("SELECT 1")
        with pool.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_async_pool():
    async def run():
        async with AsyncConnectionPool(URL, min_size=4, max_size=12, open=False) as pool:

            async def one(i):
                async with pool.connection() as connection:
                    cursor = await connection.execute("SELECT %s::int * 2 FROM pg_sleep(0.01)", [i])
                    return (await cursor.fetchone())[0]

            return await asyncio.gather(*(one(i) for i in range(100)))

    assert asyncio.run(run()) == [i * 2 for i in range(100)]


def test_sslmodes():
    for mode in ["disable", "allow", "prefer"]:
        with psycopg.connect(with_sslmode(mode)) as connection:
            assert not connection.pgconn.ssl_in_use
    if PLACE.unix:
        return  # libpq has no SSL there, whatever is asked for.
    with pytest.raises(psycopg.OperationalError, match="server does not support SSL, but SSL was required"):
        psycopg.connect(with_sslmode("require"))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(URL, password="wrong")
