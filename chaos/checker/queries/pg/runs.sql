-- All runs.
SELECT r.id, r.invoke_id, r.workflow, r.version::bigint AS version, r.queue, r.status, r.output_codec::bigint AS output_codec,
       r.output, r.parent_id, r.parent_kind, r.parent_name, r.parent_nth::bigint AS parent_nth, r.owner, r.mail,
       r.crashes::bigint AS crashes, r.park_code, r.park_message, (extract(epoch FROM r.wake_at) * 1000000)::bigint AS wake_at,
       (extract(epoch FROM r.created_at) * 1000000)::bigint AS created_at,
       (extract(epoch FROM r.finished_at) * 1000000)::bigint AS finished_at
FROM workflow.runs AS r
ORDER BY r.id
