-- Returns runs whose time has come.
-- ?1 now, ?2 how many at most.
SELECT id FROM wf_run WHERE sweep_at IS NOT NULL AND sweep_at <= ?1 ORDER BY sweep_at, id LIMIT ?2;
