-- Returns messages of runs that an executor owns.
-- ?1 executor, ?2 how many at most.
SELECT m.run, m.seq, m.kind, m.name, m.nth, m.phase, m.mark, m.codec, m.payload
FROM wf_run AS r CROSS JOIN wf_inbox AS m ON m.run = r.id
WHERE r.owner = ?1
ORDER BY r.id, m.seq
LIMIT ?2;
