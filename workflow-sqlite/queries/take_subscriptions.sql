-- Ends the subscriptions of a topic that an event ends. Returns them.
-- ?1 name, ?2 key, ?3 seq of the event.
DELETE FROM wf_subscription WHERE name = ?1 AND key = ?2 AND after < ?3
RETURNING run, op_kind, op_name, op_nth;
