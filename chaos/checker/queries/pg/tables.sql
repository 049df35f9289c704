-- The tables of the workloads. Nothing is unique here: what was done twice stands there twice.
CREATE TABLE IF NOT EXISTS chaos_account (id bigint NOT NULL, balance bigint NOT NULL);
CREATE TABLE IF NOT EXISTS chaos_effect (
    run     uuid        NOT NULL,
    step    text        NOT NULL,
    nth     bigint      NOT NULL DEFAULT 1,
    token   bigint      NOT NULL,
    account bigint      NOT NULL DEFAULT 0,
    amount  bigint      NOT NULL DEFAULT 0,
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS chaos_account_by_id ON chaos_account (id);
