-- All events that are kept.
SELECT e.name, e.key, e.seq, e.id, e.payload, e.created_at AS emitted_at, e.expires_at
FROM wf_event AS e
ORDER BY e.name, e.key, e.seq
