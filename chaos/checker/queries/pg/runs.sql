-- All runs.
SELECT r.id, r.invoke_id, r.workflow, r.version::bigint AS version, r.queue, r.status, r.output_codec::bigint AS output_codec,
       r.output, r.parent_id, r.parent_kind, r.parent_name, r.parent_nth::bigint AS parent_nth, r.owner, r.wake_at, r.mail,
       r.crashes::bigint AS crashes, r.park_code, r.park_message, r.created_at, r.finished_at
FROM workflow.runs AS r
ORDER BY r.id
