CREATE TABLE "drizzle_user" ("id" serial PRIMARY KEY, "name" text NOT NULL UNIQUE, "tags" text[], "doc" jsonb, "seen" timestamptz);
--> statement-breakpoint
CREATE TABLE "drizzle_post" ("id" serial PRIMARY KEY, "title" text NOT NULL, "user_id" integer NOT NULL REFERENCES "drizzle_user");
