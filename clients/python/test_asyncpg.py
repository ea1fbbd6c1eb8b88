"""asyncpg, which reads and writes everything in binary."""

import asyncio
import io
import json

import asyncpg
import pytest

from samples import DOCUMENT, PLACE, SCHEMA, URL, VALUES, with_sslmode


def client_test(body):
    """Runs the test with a connection to tables of its own."""

    def test():
        async def run():
            db = await asyncpg.connect(URL)
            try:
                await db.execute(SCHEMA)
                await asyncio.wait_for(body(db), 60)
            finally:
                await db.close()

        asyncio.run(run())

    test.__name__ = body.__name__
    return test


@client_test
async def test_types(db):
    for name in ["json", "jsonb"]:
        await db.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    row = {**VALUES, "doc": DOCUMENT, "docb": DOCUMENT, "feeling": "happy"}
    names = ", ".join(row)
    places = ", ".join(f"${i + 1}" for i in range(len(row)))
    await db.execute(f"INSERT INTO sample ({names}) VALUES ({places})", *row.values())
    await db.execute("INSERT INTO sample (label) VALUES ($1)", None)
    got = await db.fetch(f"SELECT {names} FROM sample ORDER BY id")
    # An inet comes with its netmask, as an interface or an address.
    assert {**got[0], "address": str(got[0]["address"]).partition("/")[0]} == {**row, "address": "192.168.0.1"}
    assert set(got[1].values()) == {None}


@client_test
async def test_composite_and_range_types_are_looked_up(db):
    await db.execute("DROP TYPE IF EXISTS pair; CREATE TYPE pair AS (a int, b text[])")
    got = await db.fetchval("SELECT ARRAY[(1, '{x,y}')::pair, (2, NULL)::pair]")
    assert [tuple(pair) for pair in got] == [(1, ["x", "y"]), (2, None)]
    span = await db.fetchval("SELECT $1::int4range", asyncpg.Range(1, 10))
    assert (span.lower, span.upper) == (1, 10)


@client_test
async def test_prepared_statements(db):
    statement = await db.prepare("SELECT $1::int8 * 2")
    assert [await statement.fetchval(i) for i in range(50)] == [i * 2 for i in range(50)]
    await db.executemany("INSERT INTO sample (normal) VALUES ($1)", [(i,) for i in range(1000)])
    assert await db.fetchval("SELECT count(*) FROM sample") == 1000


@client_test
async def test_transactions_savepoints_and_sqlstate(db):
    await db.execute("CREATE TEMP TABLE t (i int PRIMARY KEY)")
    transaction = db.transaction(isolation="serializable")
    await transaction.start()
    await db.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        async with db.transaction():
            await db.execute("INSERT INTO t VALUES (1)")
    assert refused.value.sqlstate == "23505"
    assert await db.fetchval("SELECT count(*) FROM t") == 1
    await transaction.rollback()
    assert await db.fetchval("SELECT count(*) FROM t") == 0


@client_test
async def test_copy_both_ways(db):
    await db.copy_records_to_table("sample", columns=["normal", "label"], records=[(i, f"row {i}") for i in range(20_000)])
    out = io.BytesIO()
    await db.copy_from_query("SELECT normal, label FROM sample ORDER BY normal", output=out, format="csv")
    assert out.getvalue().splitlines()[-1] == b"19999,row 19999"


@client_test
async def test_notifications(db):
    got = asyncio.get_running_loop().create_future()
    await db.add_listener("events", lambda _c, _pid, channel, payload: got.set_result((channel, payload)))
    other = await asyncpg.connect(URL)
    await other.execute("SELECT pg_notify('events', 'hello')")
    await other.close()
    assert await asyncio.wait_for(got, 10) == ("events", "hello")


@client_test
async def test_timeouts_and_cancelled_tasks_cancel_the_query(db):
    with pytest.raises(asyncio.TimeoutError):
        await db.fetch("SELECT pg_sleep(60)", timeout=0.2)
    task = asyncio.create_task(db.fetch("SELECT count(*) FROM generate_series(1, 100000000000)"))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await db.fetchval("SELECT 1") == 1


@client_test
async def test_cursor(db):
    total = 0
    async with db.transaction():
        async for row in db.cursor("SELECT repeat('x', 1000) FROM generate_series(1, 20000)", prefetch=500):
            total += len(row[0])
    assert total == 20_000_000


@client_test
async def test_pool_and_reconnect(db):
    async with asyncpg.create_pool(URL, min_size=8, max_size=16) as pool:

        async def one(i):
            return await pool.fetchval("SELECT $1::int FROM pg_sleep(0.005)", i)

        assert await asyncio.gather(*(one(i) for i in range(300))) == list(range(300))
        async with pool.acquire() as connection:
            await db.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            # asyncpg tells of it as whatever the moment makes of it.
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
                await connection.fetchval("SELECT 1")
        assert await pool.fetchval("SELECT 1") == 1


@client_test
async def test_sslmodes(db):
    for mode in ["disable", "allow", "prefer"]:
        await (await asyncpg.connect(with_sslmode(mode))).close()
    if not PLACE.unix:
        with pytest.raises(ConnectionError, match="rejected SSL upgrade"):
            await asyncpg.connect(with_sslmode("require"))
