-- Writes, and takes it back: SQLite makes of BEGIN IMMEDIATE alone a transaction that reads, where the file can't be
-- written. Returns nothing.
BEGIN IMMEDIATE;
CREATE TABLE wf_probe (mark INTEGER);
ROLLBACK;
