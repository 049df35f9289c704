-- Makes a subscription unless the operation has one or the run is over. Changes one row, or none.
-- ?1 run, ?2 kind, ?3 name, ?4 nth of the operation, ?5 name, ?6 key of the event, ?7 only events above this seq.
INSERT INTO wf_subscription (run, op_kind, op_name, op_nth, name, key, after)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
FROM wf_run
WHERE id = ?1 AND status IN ('ready', 'running', 'waiting', 'parked')
ON CONFLICT DO NOTHING;
