-- Who waits for which event.
SELECT s.run_id, s.kind, s.name, s.nth::bigint AS nth, s.topic_name, s.topic_key, s.after_seq
FROM workflow.subscriptions AS s
ORDER BY s.run_id, s.kind, s.name, s.nth
