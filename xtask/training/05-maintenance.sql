-- One statement at a time, outside of transactions.
VACUUM (ANALYZE) customers;
VACUUM orders;
VACUUM (FULL) audit;
REINDEX TABLE lines;
CLUSTER plain USING plain_a;
CHECKPOINT;
ANALYZE;
