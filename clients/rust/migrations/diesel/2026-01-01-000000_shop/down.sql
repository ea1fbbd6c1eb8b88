DROP TABLE product;
DROP TYPE mood;
