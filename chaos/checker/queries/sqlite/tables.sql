-- The tables of the workloads. Nothing is unique here: what was done twice stands there twice.
CREATE TABLE IF NOT EXISTS chaos_account (id INTEGER NOT NULL, balance INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS chaos_effect (
    run BLOB NOT NULL,
    step TEXT NOT NULL,
    nth INTEGER NOT NULL DEFAULT 1,
    token INTEGER NOT NULL,
    account INTEGER NOT NULL DEFAULT 0,
    amount INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS chaos_account_by_id ON chaos_account (id);
