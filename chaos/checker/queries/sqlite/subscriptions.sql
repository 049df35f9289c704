-- Who waits for which event.
SELECT s.run AS run_id, s.op_kind AS kind, s.op_name AS name, s.op_nth AS nth, s.name AS topic_name, s.key AS topic_key,
       s.after AS after_seq
FROM wf_subscription AS s
ORDER BY s.run, s.op_kind, s.op_name, s.op_nth
