"""SQLAlchemy, sync on psycopg and psycopg2, async on asyncpg and psycopg."""

import asyncio
import datetime as dt
import decimal
import enum
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from samples import DOCUMENT, KEY, MOMENT, PLACE, URL


class Base(DeclarativeBase):
    pass


class Temper(enum.Enum):
    sad = "sad"
    happy = "happy"


class Author(Base):
    __tablename__ = "sa_author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    mood: Mapped[Temper]
    key: Mapped[uuid.UUID]
    born: Mapped[dt.date | None]
    seen: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True))
    worth: Mapped[decimal.Decimal] = mapped_column(sa.Numeric(12, 2))
    span: Mapped[dt.timedelta]
    tags: Mapped[list[str]] = mapped_column(pg.ARRAY(sa.Text))
    doc: Mapped[dict] = mapped_column(pg.JSONB)
    raw: Mapped[bytes]
    books: Mapped[list["Book"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "sa_book"
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("sa_author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def author(name):
    return Author(
        name=name, mood=Temper.happy, key=KEY, seen=MOMENT, worth=decimal.Decimal("10.50"), span=dt.timedelta(hours=1), tags=["a", "b,c"],
        doc=DOCUMENT, raw=b"\0\xff", books=[Book(title=f"{name} {i}") for i in range(3)],
    )


def url(driver):
    """Drivers other than libpq's get the parts."""
    if driver in ("psycopg", "psycopg2"):
        return URL.replace("postgresql://", f"postgresql+{driver}://")
    query = {"host": PLACE.host} if PLACE.unix else {}
    where = {} if PLACE.unix else {"host": PLACE.host}
    return sa.URL.create(f"postgresql+{driver}", PLACE.user, PLACE.password, port=PLACE.port, database=PLACE.database, query=query, **where)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_orm(driver):
    engine = sa.create_engine(url(driver), pool_size=8, pool_pre_ping=True)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([author("one"), author("two")])
        session.commit()
        with pytest.raises(sa.exc.IntegrityError) as refused, session.begin_nested():
            session.add(author("one"))
            session.flush()
        assert getattr(refused.value.orig, "sqlstate", None) or refused.value.orig.pgcode == "23505"
        got = session.scalars(sa.select(Author).where(Author.doc["ü"]["nested"].astext == "yes").order_by(Author.id)).all()
        assert [a.name for a in got] == ["one", "two"]
        one = got[0]
        assert (one.mood, one.key, one.seen, one.worth, one.tags, one.doc) == (Temper.happy, KEY, MOMENT, decimal.Decimal("10.50"), ["a", "b,c"], DOCUMENT)
        assert (one.span, one.raw, one.born, len(one.books)) == (dt.timedelta(hours=1), b"\0\xff", None, 3)
        session.delete(one)
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(Book)) == 3
        upsert = pg.insert(Book).values(id=1000, title="x", author_id=got[1].id)
        session.execute(upsert.on_conflict_do_update(index_elements=["id"], set_={"title": "y"}))
    # All of a catalogue's queries: what Alembic's autogenerate asks.
    inspector = sa.inspect(engine)
    assert {"sa_author", "sa_book"} <= set(inspector.get_table_names())
    assert [c["name"] for c in inspector.get_columns("sa_book")] == ["id", "title", "author_id"]
    assert inspector.get_foreign_keys("sa_book")[0]["referred_table"] == "sa_author"
    assert inspector.get_enums()[0]["labels"] == ["sad", "happy"]
    # A terminated session is replaced.
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
    with sa.create_engine(url(driver)).connect() as other:
        other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
        rows = connection.execution_options(yield_per=1000).execute(sa.text("SELECT generate_series(1, 50000)"))
        assert sum(row[0] for row in rows) == 1_250_025_000
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
def test_async_orm(driver):
    async def run():
        engine = create_async_engine(url(driver), pool_size=12)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)

        async def one(i):
            async with AsyncSession(engine) as session:
                session.add(author(f"a{i}"))
                await session.commit()

        await asyncio.gather(*(one(i) for i in range(40)))
        async with AsyncSession(engine) as session:
            got = (await session.scalars(sa.select(Author).options(selectinload(Author.books)))).all()
            assert len(got) == 40 and all(len(a.books) == 3 for a in got)
            result = await session.stream(sa.text("SELECT generate_series(1, 20000)"))
            assert sum([row[0] async for row in result]) == 200_010_000
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
        await engine.dispose()

    asyncio.run(run())
