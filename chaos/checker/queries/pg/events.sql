-- All events that are kept.
SELECT e.name, e.key, e.seq, e.id, e.payload, e.emitted_at, e.expires_at
FROM workflow.events AS e
ORDER BY e.name, e.key, e.seq
