// Drizzle on node-postgres and on postgres.js, with its migrator.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { eq, relations, sql } from "drizzle-orm";
import * as nodePg from "drizzle-orm/node-postgres";
import * as postgresJs from "drizzle-orm/postgres-js";
import { migrate as migrateNodePg } from "drizzle-orm/node-postgres/migrator";
import { migrate as migratePostgresJs } from "drizzle-orm/postgres-js/migrator";
import { integer, jsonb, pgTable, serial, text, timestamp } from "drizzle-orm/pg-core";
import pg from "pg";
import postgres from "postgres";
import { DOCUMENT, URL, place } from "./samples.mjs";

const users = pgTable("drizzle_user", {
  id: serial().primaryKey(), name: text().notNull(), tags: text().array(), doc: jsonb(), seen: timestamp({ withTimezone: true }),
});
const posts = pgTable("drizzle_post", { id: serial().primaryKey(), title: text().notNull(), userId: integer("user_id").notNull() });
const schema = {
  users, posts,
  userRelations: relations(users, ({ many }) => ({ posts: many(posts) })),
  postRelations: relations(posts, ({ one }) => ({ user: one(users, { fields: [posts.userId], references: [users.id] }) })),
};
const migrations = { migrationsFolder: fileURLToPath(new globalThis.URL("drizzle", import.meta.url)) };

async function workload(db) {
  const seen = new Date("2024-02-29T12:30:45.123Z");
  await db.delete(posts);
  await db.delete(users);
  const [ann] = await db.insert(users).values({ name: "ann", tags: ["a", "b,c"], doc: DOCUMENT, seen }).returning();
  assert.deepEqual({ ...ann, id: 0 }, { id: 0, name: "ann", tags: ["a", "b,c"], doc: DOCUMENT, seen });
  await db.insert(posts).values([{ title: "one", userId: ann.id }, { title: "two", userId: ann.id }]);
  const got = await db.query.users.findMany({ with: { posts: true } });
  assert.deepEqual(got[0].posts.map((post) => post.title), ["one", "two"]);
  await assert.rejects(db.transaction(async (t) => {
    await t.delete(posts).where(eq(posts.title, "one"));
    await t.transaction(async (inner) => { await inner.delete(posts); inner.rollback(); }).catch(() => {});
    await t.insert(users).values({ name: "ann" });
  }), (error) => (error.cause ?? error).code === "23505");
  assert.equal(await db.$count(posts), 2);
  const statement = db.select().from(posts).where(eq(posts.title, sql.placeholder("title"))).prepare("by_title");
  assert.equal((await statement.execute({ title: "two" })).length, 1);
}

test("on node-postgres", async () => {
  const pool = new pg.Pool({ connectionString: URL, max: 8 });
  const db = nodePg.drizzle(pool, { schema });
  await migrateNodePg(db, migrations);
  await migrateNodePg(db, migrations);
  await workload(db);
  await pool.end();
});

test("on postgres.js", async () => {
  const path = place.unix ? `${place.host}/.s.PGSQL.${place.port}` : undefined;
  const client = postgres({ ...place, path, onnotice() {} });
  const db = postgresJs.drizzle(client, { schema });
  await migratePostgresJs(db, migrations);
  await workload(db);
  await client.end();
});
