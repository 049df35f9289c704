-- Asks for the write-ahead log. Returns the mode that is in force.
PRAGMA journal_mode = WAL;
