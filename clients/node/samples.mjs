// What the tests share: values of every common type, and where the server is.
export const URL = process.env.DATABASE_URL;
const parts = new globalThis.URL(URL);
const directory = parts.searchParams.get("host");

// For clients that do not take DATABASE_URL as it is.
export const place = {
  host: directory ?? parts.hostname,
  port: Number(parts.port || parts.searchParams.get("port")),
  user: parts.username || parts.searchParams.get("user"),
  password: parts.password,
  database: parts.pathname.slice(1),
  unix: directory !== null,
};

export const SCHEMA = `
DROP TABLE IF EXISTS sample;
DROP TYPE IF EXISTS mood;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE sample (
    id serial PRIMARY KEY, small int2, normal int4, big int8, amount numeric(20, 4), ratio float8, label text, raw bytea, flag bool,
    key uuid, day date, clock time, moment timestamptz, span interval, doc json, docb jsonb, numbers int4[], words text[],
    address inet, feeling mood
)`;

export const DOCUMENT = { a: [1, 2.5, null, true], "ü": { nested: "yes" } };

// What JavaScript has no type for travels as text.
export const VALUES = {
  small: -7,
  normal: 2_000_000_000,
  big: "9000000000000000000",
  amount: "12345678.9012",
  ratio: 0.1,
  label: "naïve 'quoted' \\ text \u{1F418}",
  raw: Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  flag: true,
  key: "b5f6b3a0-3c1e-4d4e-9d5e-0123456789ab",
  clock: "23:59:59.999999",
  moment: new Date("2024-02-29T12:30:45.123Z"),
  numbers: [1, null, 3],
  words: ["a", 'b "c"', "{d,e}"],
  address: "192.168.0.1",
  feeling: "happy",
};

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const range = (n) => Array.from({ length: n }, (_, i) => i);
