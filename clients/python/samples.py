"""Values of every common type, and the tables that all clients use."""

import datetime as dt
import decimal
import ipaddress
import os
import uuid
from urllib.parse import parse_qs, unquote, urlsplit

URL = os.environ["DATABASE_URL"]

SCHEMA = """
DROP TABLE IF EXISTS sample;
DROP TYPE IF EXISTS mood;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE sample (
    id serial PRIMARY KEY, small int2, normal int4, big int8, amount numeric(20, 4), ratio float8, label text, raw bytea, flag bool,
    key uuid, day date, clock time, moment timestamptz, span interval, doc json, docb jsonb, numbers int4[], words text[],
    address inet, feeling mood
);
"""

KEY = uuid.UUID("b5f6b3a0-3c1e-4d4e-9d5e-0123456789ab")
MOMENT = dt.datetime(2024, 2, 29, 12, 30, 45, 123456, tzinfo=dt.timezone.utc)

# Column and value; `doc`, `docb` and `feeling` differ in how clients want them.
VALUES = {
    "small": -7,
    "normal": 2_000_000_000,
    "big": 9_000_000_000_000_000_000,
    "amount": decimal.Decimal("12345678.9012"),
    "ratio": 0.1,
    "label": "naïve 'quoted' \\ text \U0001f418",
    "raw": bytes(range(256)),
    "flag": True,
    "key": KEY,
    "day": dt.date(1999, 12, 31),
    "clock": dt.time(23, 59, 59, 999999),
    "moment": MOMENT,
    "span": dt.timedelta(days=3, hours=4, microseconds=5),
    "numbers": [1, None, 3],
    "words": ["a", 'b "c"', "{d,e}"],
    "address": ipaddress.ip_address("192.168.0.1"),
}
DOCUMENT = {"a": [1, 2.5, None, True], "ü": {"nested": "yes"}}


class Place:
    """The parts of DATABASE_URL, for clients that do not take it as it is."""

    def __init__(self, url=URL):
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.host = query.get("host", parts.hostname)
        self.port = parts.port or int(query["port"])
        self.user = query.get("user") or unquote(parts.username)
        self.password = unquote(parts.password) if parts.password else None
        self.database = parts.path.lstrip("/")
        self.unix = self.host.startswith("/")

    @property
    def socket(self):
        return f"{self.host}/.s.PGSQL.{self.port}"


PLACE = Place()


def with_sslmode(mode):
    return URL.replace("sslmode=disable", f"sslmode={mode}")
