-- All events that are kept.
SELECT e.name, e.key, e.seq, e.id, e.payload,
       (extract(epoch FROM e.emitted_at) * 1000000)::bigint AS emitted_at,
       (extract(epoch FROM e.expires_at) * 1000000)::bigint AS expires_at
FROM workflow.events AS e
ORDER BY e.name, e.key, e.seq
