// node-postgres.
import assert from "node:assert/strict";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import pg from "pg";
import QueryStream from "pg-query-stream";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import { DOCUMENT, SCHEMA, URL, VALUES, place, range, sleep } from "./samples.mjs";

let db;
before(async () => {
  db = new pg.Client(URL);
  await db.connect();
  await db.query(SCHEMA);
});
after(() => db.end());

test("types", async () => {
  const row = { ...VALUES, doc: DOCUMENT, docb: DOCUMENT, day: "1999-12-31", span: "3 days 04:00:00.000005" };
  const names = Object.keys(row);
  const insert = `INSERT INTO sample (${names}) VALUES (${names.map((_, i) => `$${i + 1}`)}) RETURNING id`;
  const { rows: [{ id }] } = await db.query(insert, Object.values(row));
  const { rows: [got] } = await db.query(`SELECT ${names}, day::text AS day, span::text AS span FROM sample WHERE id = $1`, [id]);
  assert.deepEqual(got, row);
  await db.query("INSERT INTO sample (label) VALUES ($1)", [null]);
  const { rows: [none] } = await db.query(`SELECT ${names} FROM sample WHERE id = $1`, [id + 1]);
  assert(Object.values(none).every((value) => value === null));
});

test("prepared statements", async () => {
  for (const i of range(20)) {
    const { rows } = await db.query({ name: "twice", text: "SELECT $1::int * 2 AS n", values: [i], rowMode: "array" });
    assert.deepEqual(rows, [[i * 2]]);
  }
});

test("transactions, savepoints, SQLSTATE", async () => {
  await db.query("BEGIN");
  await db.query("CREATE TEMP TABLE t (i int PRIMARY KEY)");
  await db.query("SAVEPOINT a");
  await db.query("INSERT INTO t VALUES (1)");
  await assert.rejects(db.query("INSERT INTO t VALUES (1)"), { code: "23505", constraint: "t_pkey" });
  await assert.rejects(db.query("SELECT 1"), { code: "25P02" });
  await db.query("ROLLBACK TO a");
  assert.equal((await db.query("SELECT count(*) FROM t")).rows[0].count, "0");
  await db.query("ROLLBACK");
});

test("COPY both ways", async () => {
  const lines = range(20000).map((i) => `${i}\trow ${i}\n`);
  await db.query("TRUNCATE sample");
  await pipeline(Readable.from(lines), db.query(copyFrom("COPY sample (normal, label) FROM STDIN")));
  const out = [];
  for await (const chunk of db.query(copyTo("COPY (SELECT normal, label FROM sample ORDER BY 1) TO STDOUT"))) out.push(chunk);
  assert.equal(Buffer.concat(out).toString(), lines.join(""));
});

test("notifications", async () => {
  const got = new Promise((resolve) => db.once("notification", resolve));
  await db.query("LISTEN events");
  const other = new pg.Client(URL);
  await other.connect();
  await other.query("SELECT pg_notify('events', 'hello')");
  await other.end();
  const { channel, payload } = await got;
  assert.deepEqual([channel, payload], ["events", "hello"]);
});

test("cancel and timeouts", async () => {
  const other = new pg.Client({ connectionString: URL, statement_timeout: 200 });
  await other.connect();
  await assert.rejects(other.query("SELECT pg_sleep(60)"), { code: "57014" });
  const { rows: [{ pid }] } = await other.query("SET statement_timeout = 0; SELECT pg_backend_pid() AS pid").then((all) => all[1]);
  const busy = assert.rejects(other.query("SELECT count(*) FROM generate_series(1, 100000000000)"), { code: "57014" });
  await sleep(200);
  await db.query("SELECT pg_cancel_backend($1)", [pid]);
  await busy;
  await other.end();
});

test("stream", async () => {
  let bytes = 0;
  for await (const row of db.query(new QueryStream("SELECT repeat('x', 1000) AS text FROM generate_series(1, 20000)", [], { batchSize: 500 }))) {
    bytes += row.text.length;
  }
  assert.equal(bytes, 20_000_000);
});

test("pool and reconnect", async () => {
  const pool = new pg.Pool({ connectionString: URL, max: 16 });
  pool.on("error", () => {});
  const got = await Promise.all(range(300).map((i) => pool.query("SELECT $1::int AS i FROM pg_sleep(0.002)", [i])));
  assert.deepEqual(got.map(({ rows }) => rows[0].i), range(300));
  await db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
  while (pool.idleCount > 0) await sleep(5);
  assert.equal((await pool.query("SELECT 1 AS one")).rows[0].one, 1);
  await pool.end();
});

test("SSL", async () => {
  if (place.unix) return;
  const client = new pg.Client({ ...place, ssl: { rejectUnauthorized: false } });
  await assert.rejects(client.connect(), /The server does not support SSL connections/);
  await assert.rejects(new pg.Client({ ...place, password: "wrong" }).connect(), { code: "28P01" });
});
