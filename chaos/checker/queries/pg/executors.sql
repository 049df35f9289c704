-- All lives of executors that aren't forgotten.
SELECT x.id, x.name, (x.state = 'alive')::integer::bigint AS alive,
       (extract(epoch FROM x.lease_until) * 1000000)::bigint AS lease_until
FROM workflow.executors AS x
ORDER BY x.id
