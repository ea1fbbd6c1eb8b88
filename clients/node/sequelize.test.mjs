// Sequelize.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DataTypes, Sequelize, UniqueConstraintError } from "sequelize";
import { DOCUMENT, place, range } from "./samples.mjs";

test("models, transactions, pool", async () => {
  const db = new Sequelize(place.database, place.user, place.password, { dialect: "postgres", host: place.host, port: place.port, logging: false, pool: { max: 10 } });
  const Ship = db.define("ship", {
    name: { type: DataTypes.STRING, unique: true }, kind: DataTypes.ENUM("tug", "ferry"), key: DataTypes.UUID, tags: DataTypes.ARRAY(DataTypes.TEXT),
    doc: DataTypes.JSONB, built: DataTypes.DATEONLY, length: DataTypes.DECIMAL(12, 2), raw: DataTypes.BLOB, crew: DataTypes.RANGE(DataTypes.INTEGER),
  });
  const Port = db.define("port", { name: DataTypes.TEXT });
  Ship.belongsTo(Port);
  Port.hasMany(Ship);
  await db.sync({ force: true });
  const row = { name: "one", kind: "ferry", key: "b5f6b3a0-3c1e-4d4e-9d5e-0123456789ab", tags: ["a", "b,c"], doc: DOCUMENT, built: "1999-12-31", length: "10.50", raw: Buffer.from([0, 255]) };
  await Port.create({ name: "p", ships: [row] }, { include: Ship });
  const got = (await Port.findOne({ include: Ship })).ships[0].get();
  for (const [name, value] of Object.entries(row)) assert.deepEqual(got[name], value, name);
  await assert.rejects(db.transaction((transaction) => Ship.create({ name: "one" }, { transaction })), UniqueConstraintError);
  await Promise.all(range(100).map((i) => Ship.create({ name: `s${i}` })));
  assert.equal(await Ship.count(), 101);
  await db.sync({ alter: true });
  await db.drop({ cascade: true });
  await db.close();
});
