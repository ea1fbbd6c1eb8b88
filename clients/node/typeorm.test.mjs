// TypeORM: synchronised schema, migrations, transactions.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DataSource, EntitySchema } from "typeorm";
import { DOCUMENT, place, range } from "./samples.mjs";

const Plant = new EntitySchema({
  name: "Plant",
  columns: {
    id: { type: "uuid", primary: true, generated: "uuid" }, name: { type: "text", unique: true }, kind: { type: "enum", enum: ["tree", "herb"], default: "herb" },
    doc: { type: "jsonb", nullable: true }, tags: { type: "text", array: true, nullable: true }, seen: { type: "timestamptz", nullable: true }, height: { type: "numeric", precision: 12, scale: 2, nullable: true },
  },
});

class AddColour1700000000000 {
  name = "AddColour1700000000000";
  up = (runner) => runner.query(`ALTER TABLE plant ADD COLUMN colour text DEFAULT 'green'`);
  down = (runner) => runner.query(`ALTER TABLE plant DROP COLUMN colour`);
}

test("schema, migrations, transactions", async () => {
  const db = await new DataSource({
    type: "postgres", host: place.host, port: place.port, username: place.user, password: place.password, database: place.database,
    synchronize: true, dropSchema: true, entities: [Plant], migrations: [AddColour1700000000000], poolSize: 8,
  }).initialize();
  const plants = db.getRepository(Plant);
  const row = { name: "oak", kind: "tree", doc: DOCUMENT, tags: ["a", "b,c"], seen: new Date("2024-02-29T12:30:45.123Z"), height: "10.50" };
  const { id } = await plants.save(row);
  assert.deepEqual(await plants.findOneBy({ name: "oak" }), { ...row, id });
  await assert.rejects(db.transaction("SERIALIZABLE", async (manager) => {
    await manager.clear(Plant);
    await manager.transaction((inner) => inner.insert(Plant, { name: "fern" }));
    await manager.insert(Plant, { name: "fern" });
  }), (error) => error.driverError.code === "23505");
  await Promise.all(range(100).map((i) => plants.insert({ name: `p${i}` })));
  assert.equal(await plants.count(), 101);
  assert.equal((await db.runMigrations()).length, 1);
  await db.undoLastMigration();
  await db.dropDatabase();
  await db.destroy();
});
