-- Remembers a migration. Returns nothing.
-- ?1 its number, ?2 its name, ?3 now.
INSERT INTO wf_migration (version, name, applied_at) VALUES (?1, ?2, ?3);
