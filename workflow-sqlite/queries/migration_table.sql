-- Makes the table that remembers which migrations were applied. Returns nothing.
CREATE TABLE IF NOT EXISTS wf_migration (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;
