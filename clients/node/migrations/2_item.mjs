export const up = (knex) => knex.schema.createTable("knex_item", (t) => {
  t.bigIncrements();
  t.integer("owner_id").notNullable().references("knex_owner.id");
  t.jsonb("doc");
  t.decimal("price", 12, 2);
  t.timestamps(true, true);
});
export const down = (knex) => knex.schema.dropTable("knex_item");
