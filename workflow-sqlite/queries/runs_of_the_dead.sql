-- Returns runs of dead executors with what decides about their crash count.
-- ?1 how many at most.
SELECT
    r.id,
    r.queue,
    r.crashes,
    r.rescued_len,
    (SELECT COALESCE(MAX(j.position) + 1, 0) FROM wf_journal AS j WHERE j.run = r.id) AS len
FROM wf_executor AS e CROSS JOIN wf_run AS r ON r.owner = e.id
WHERE e.dead = 1
ORDER BY e.id, r.id
LIMIT ?1;
