-- All lives of executors that aren't forgotten.
SELECT x.id, x.name, x.dead = 0 AS alive, x.lease_until
FROM wf_executor AS x
ORDER BY x.id
