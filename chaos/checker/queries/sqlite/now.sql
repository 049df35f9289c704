-- The time of the host, in microseconds since 1970: SQLite has no clock of its own.
SELECT CAST((julianday('now') - 2440587.5) * 86400.0 * 1e3 AS INTEGER) * 1000
