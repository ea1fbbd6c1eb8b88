"""pg8000, which is Python throughout."""

import io

import pg8000.dbapi
import pg8000.native
import pytest

from samples import DOCUMENT, PLACE, SCHEMA, VALUES


def place():
    if PLACE.unix:
        return dict(user=PLACE.user, database=PLACE.database, unix_sock=PLACE.socket)
    return dict(user=PLACE.user, password=PLACE.password, database=PLACE.database, host=PLACE.host, port=PLACE.port)


@pytest.fixture
def db():
    connection = pg8000.native.Connection(**place())
    connection.run(SCHEMA)
    yield connection
    connection.close()


def test_types(db):
    row = {**VALUES, "doc": DOCUMENT, "docb": DOCUMENT, "feeling": "happy"}
    sent = dict(row)
    for name in ["doc", "docb"]:
        sent[name] = __import__("json").dumps(DOCUMENT)
    names = ", ".join(row)
    db.run(f"INSERT INTO sample ({names}) VALUES ({', '.join(':' + name for name in row)})", **sent)
    db.run("INSERT INTO sample (label) VALUES (:label)", label=None)
    got = db.run(f"SELECT {names} FROM sample ORDER BY id")
    assert dict(zip(row, got[0])) == row
    assert set(got[1]) == {None}


def test_prepared_statements(db):
    statement = db.prepare("SELECT cast(:v AS int) + 1")
    assert [statement.run(v=i) for i in range(20)] == [[[i + 1]] for i in range(20)]
    statement.close()


def test_transactions_and_sqlstate(db):
    db.run("CREATE TEMP TABLE t (i int PRIMARY KEY)")
    db.run("START TRANSACTION")
    db.run("INSERT INTO t VALUES (1)")
    db.run("SAVEPOINT a")
    with pytest.raises(pg8000.native.DatabaseError) as refused:
        db.run("INSERT INTO t VALUES (1)")
    assert refused.value.args[0]["C"] == "23505"
    db.run("ROLLBACK TO a")
    db.run("ROLLBACK")
    assert db.run("SELECT count(*) FROM t") == [[0]]


def test_copy_both_ways(db):
    lines = b"".join(b"%d\trow\n" % i for i in range(5000))
    db.run("COPY sample (normal, label) FROM STDIN", stream=io.BytesIO(lines))
    out = io.BytesIO()
    db.run("COPY (SELECT normal, label FROM sample ORDER BY 1) TO STDOUT", stream=out)
    assert out.getvalue() == lines


def test_notifications(db):
    db.run("LISTEN events")
    other = pg8000.native.Connection(**place())
    other.run("NOTIFY events, 'hello'")
    other.close()
    db.run("SELECT 1")
    assert [note[1:] for note in db.notifications] == [("events", "hello")]


def test_termination_and_dbapi(db):
    connection = pg8000.dbapi.connect(**place())
    cursor = connection.cursor()
    cursor.execute("SELECT pg_backend_pid(), %s::text", ("x",))
    pid, text = cursor.fetchone()
    assert text == "x"
    db.run("SELECT pg_terminate_backend(:pid)", pid=pid)
    # It sends a query in pieces: the second may find the connection reset, with native PostgreSQL as often, and that error is passed on as it is.
    with pytest.raises((pg8000.dbapi.DatabaseError, pg8000.dbapi.InterfaceError, ConnectionResetError, BrokenPipeError)):
        cursor.execute("SELECT 1")


def test_ssl_is_refused_clearly():
    if not PLACE.unix:
        with pytest.raises(pg8000.native.InterfaceError, match="(?i)refuses SSL|does not support SSL|SSL"):
            pg8000.native.Connection(**place(), ssl_context=True)
        with pytest.raises(pg8000.native.DatabaseError) as refused:
            pg8000.native.Connection(**{**place(), "password": "wrong"})
        assert refused.value.args[0]["C"] == "28P01"
