// Prisma Client on its adapter for node-postgres. Its migrations are a program that it downloads from a host of its own, so the tables are made here.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PrismaPg } from "@prisma/adapter-pg";
import { Prisma, PrismaClient } from "@prisma/client";
import { DOCUMENT, URL, range } from "./samples.mjs";

const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: URL, max: 10 }) });
const TABLES = [
  `DROP TABLE IF EXISTS "Novel", "Writer"`,
  `DROP TYPE IF EXISTS "Mood"`,
  `CREATE TYPE "Mood" AS ENUM ('sad', 'happy')`,
  `CREATE TABLE "Writer" (id serial PRIMARY KEY, name text NOT NULL UNIQUE, mood "Mood" NOT NULL, key uuid NOT NULL, born date, seen timestamptz(3) NOT NULL,
     worth numeric(20, 4) NOT NULL, big bigint NOT NULL, tags text[], doc jsonb NOT NULL, raw bytea NOT NULL, addr inet)`,
  `CREATE TABLE "Novel" (id serial PRIMARY KEY, title text NOT NULL, "writerId" int NOT NULL REFERENCES "Writer" ON DELETE CASCADE)`,
];
before(async () => {
  for (const statement of TABLES) await prisma.$executeRawUnsafe(statement);
});
after(() => prisma.$disconnect());

const writer = (name) => ({
  name, mood: "happy", key: "b5f6b3a0-3c1e-4d4e-9d5e-0123456789ab", born: new Date("1999-12-31"), seen: new Date("2024-02-29T12:30:45.123Z"),
  worth: new Prisma.Decimal("12345678.9012"), big: 9_000_000_000_000_000_000n, tags: ["a", "b,c"], doc: DOCUMENT, raw: new Uint8Array([0, 255]), addr: "192.168.0.1",
});

test("types and relations", async () => {
  const row = writer("one");
  const { id } = await prisma.writer.create({ data: { ...row, novels: { create: [{ title: "a" }, { title: "b" }] } } });
  const got = await prisma.writer.findUnique({ where: { id }, include: { novels: true } });
  for (const [name, value] of Object.entries(row)) assert.deepEqual(got[name], value, name);
  assert.deepEqual(got.novels.map((novel) => novel.title), ["a", "b"]);
});

test("errors, transactions, pool", async () => {
  await assert.rejects(prisma.writer.create({ data: writer("one") }), { code: "P2002" });
  await assert.rejects(prisma.$transaction(async (t) => {
    await t.novel.deleteMany();
    throw new Error("no");
  }), /no/);
  assert.equal(await prisma.novel.count(), 2);
  await prisma.$transaction([prisma.writer.create({ data: writer("two") }), prisma.novel.deleteMany()], { isolationLevel: "Serializable" });
  await Promise.all(range(50).map((i) => prisma.writer.create({ data: writer(`w${i}`) })));
  assert.equal(await prisma.writer.count({ where: { mood: "happy" } }), 52);
  assert.deepEqual(await prisma.$queryRaw`SELECT ${1}::int + 1 AS two`, [{ two: 2 }]);
});
