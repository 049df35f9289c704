-- Makes a subscription unless it is there. Returns nothing.
-- ?1 run, ?2 kind, ?3 name, ?4 nth of the operation, ?5 name, ?6 key of the event, ?7 only events above this seq.
INSERT INTO wf_subscription (run, op_kind, op_name, op_nth, name, key, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT DO NOTHING;
