-- The schema and its table of migrations: what has to be there before any migration.
CREATE SCHEMA IF NOT EXISTS workflow;
CREATE TABLE IF NOT EXISTS workflow.migrations (
    version    integer     NOT NULL,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL,
    CONSTRAINT migration_is_applied_once PRIMARY KEY (version)
);
