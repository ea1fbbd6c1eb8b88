// postgres.js, which pipelines.
import assert from "node:assert/strict";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import postgres from "postgres";
import { DOCUMENT, SCHEMA, VALUES, place, range, sleep } from "./samples.mjs";

const options = { host: place.host, port: place.port, user: place.user, password: place.password, database: place.database, onnotice() {} };
if (place.unix) options.path = `${place.host}/.s.PGSQL.${place.port}`;
const sql = postgres({ ...options, max: 12 });
before(() => sql.unsafe(SCHEMA));
after(() => sql.end());

test("types", async () => {
  // Its own reading of a NULL in an array of numbers is NaN.
  const row = { ...VALUES, numbers: [1, 2, 3], doc: DOCUMENT, docb: DOCUMENT };
  const [got] = await sql`INSERT INTO sample ${sql({ ...row, doc: sql.json(DOCUMENT), docb: sql.json(DOCUMENT) })} RETURNING *`;
  for (const [name, value] of Object.entries(row)) assert.deepEqual(got[name], value, name);
  const [none] = await sql`INSERT INTO sample (label) VALUES (${null}) RETURNING *`;
  assert.equal(none.label, null);
});

test("transactions, savepoints, SQLSTATE", async () => {
  const refused = sql.begin(async (t) => {
    await t`CREATE TEMP TABLE t (i int PRIMARY KEY)`;
    await assert.rejects(t.savepoint((s) => s`SELECT 1 / 0`), { code: "22012" });
    await t`INSERT INTO t VALUES (1), (1)`;
  });
  await assert.rejects(refused, { code: "23505" });
});

test("COPY both ways", async () => {
  await sql`TRUNCATE sample`;
  const lines = range(20000).map((i) => `${i}\trow ${i}\n`);
  await pipeline(Readable.from(lines), await sql`COPY sample (normal, label) FROM STDIN`.writable());
  const out = [];
  // A connection of its own: postgres.js 3.4 stops reading after one COPY TO of two, also with native PostgreSQL.
  const alone = postgres({ ...options, max: 1 });
  for await (const chunk of await alone`COPY (SELECT normal, label FROM sample ORDER BY 1) TO STDOUT`.readable()) out.push(chunk);
  await alone.end({ timeout: 1 });
  assert.equal(Buffer.concat(out).toString(), lines.join(""));
});

test("notifications", async () => {
  let heard;
  const got = new Promise((resolve) => (heard = resolve));
  const { unlisten } = await sql.listen("events", heard);
  await sql.notify("events", "hello");
  assert.equal(await got, "hello");
  await unlisten();
});

test("cancel", async () => {
  const query = sql`SELECT pg_sleep(60)`.execute();
  setTimeout(() => query.cancel(), 200);
  await assert.rejects(query, { code: "57014" });
});

test("cursor", async () => {
  let bytes = 0;
  for await (const rows of sql`SELECT repeat('x', 1000) AS text FROM generate_series(1, 20000)`.cursor(500)) for (const row of rows) bytes += row.text.length;
  assert.equal(bytes, 20_000_000);
});

test("pool and reconnect", async () => {
  const got = await Promise.all(range(500).map((i) => sql`SELECT ${i}::int AS i FROM pg_sleep(0.002)`));
  assert.deepEqual(got.map(([row]) => row.i), range(500));
  await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`;
  await sleep(100);
  const again = await Promise.all(range(50).map((i) => sql`SELECT ${i}::int AS i`));
  assert.deepEqual(again.map(([row]) => row.i), range(50));
});

test("SSL", async () => {
  if (place.unix) return;
  const prefer = postgres({ ...options, ssl: "prefer" });
  assert.equal((await prefer`SELECT 1 AS one`)[0].one, 1);
  await prefer.end();
  const required = postgres({ ...options, ssl: "require", max: 1 });
  await assert.rejects(required`SELECT 1`);
  await required.end();
});
