ALTER TABLE product ADD COLUMN price numeric(12, 2) NOT NULL DEFAULT 0;
CREATE INDEX product_docb ON product USING gin (docb);
