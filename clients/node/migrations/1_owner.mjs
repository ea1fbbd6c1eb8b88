export const up = (knex) => knex.schema.createTable("knex_owner", (t) => { t.increments(); t.string("name").unique(); });
export const down = (knex) => knex.schema.dropTable("knex_owner");
