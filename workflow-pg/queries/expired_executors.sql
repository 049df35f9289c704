-- Executors whose lease has run out and that nobody has declared dead yet: id.
--
-- $1 how many
SELECT x.id
FROM workflow.executors AS x
WHERE x.state = 'alive' AND x.lease_until <= clock_timestamp()
ORDER BY x.lease_until, x.id
LIMIT $1
