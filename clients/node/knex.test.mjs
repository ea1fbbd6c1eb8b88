// Knex: schema builder, migrations, transactions.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import knex from "knex";
import { URL, range } from "./samples.mjs";

const db = knex({
  client: "pg",
  connection: URL,
  pool: { min: 2, max: 10 },
  migrations: { directory: fileURLToPath(new globalThis.URL("migrations", import.meta.url)), loadExtensions: [".mjs"] },
});
after(() => db.destroy());

test("migrations there and back", async () => {
  const [, run] = await db.migrate.latest();
  assert.equal(run.length, 2);
  assert.deepEqual((await db.migrate.latest())[1], []);
  await db.migrate.rollback();
  assert.equal(await db.schema.hasTable("knex_item"), false);
  await db.migrate.latest();
});

test("queries and transactions", async () => {
  await db("knex_owner").insert(range(50).map((i) => ({ name: `o${i}` })));
  await Promise.all(range(100).map((i) => db("knex_item").insert({ owner_id: (i % 50) + 1, doc: { i }, price: "1.50" })));
  const [{ total }] = await db("knex_item").join("knex_owner", "knex_owner.id", "owner_id").sum("price as total");
  assert.equal(total, "150.00");
  assert.equal((await db("knex_item").whereJsonPath("doc", "$.i", "=", 7)).length, 1);
  await assert.rejects(db.transaction(async (t) => {
    await t("knex_item").del();
    await t.transaction((inner) => inner("knex_owner").where({ id: 1 }).update({ name: "x" }));
    await t("knex_item").insert({ owner_id: 999 });
  }), { code: "23503" });
  assert.equal((await db("knex_item").count())[0].count, "100");
});
