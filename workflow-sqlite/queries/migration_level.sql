-- Returns the number of the newest migration that was applied, or NULL.
SELECT MAX(version) AS version FROM wf_migration;
