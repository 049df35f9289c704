-- All lives of executors that aren't forgotten.
SELECT x.id, x.name, x.state = 'alive' AS alive, x.lease_until
FROM workflow.executors AS x
ORDER BY x.id
