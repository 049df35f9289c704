-- Runs by id or invoke_id.
-- Returns id, invoke_id, workflow, version, queue, status, input_codec, input, output_codec, output, park_code,
-- park_message, parent_id, parent_kind, parent_name, parent_nth, depth, owner, wake_at, crashes, created_at, finished_at.
--
-- $1 ids, $2 invoke_ids
SELECT r.id, r.invoke_id, r.workflow, r.version, r.queue, r.status, r.input_codec, r.input, r.output_codec, r.output,
       r.park_code, r.park_message, r.parent_id, r.parent_kind, r.parent_name, r.parent_nth, r.depth, r.owner, r.wake_at,
       r.crashes, r.created_at, r.finished_at
FROM workflow.runs AS r
WHERE r.id = ANY($1::uuid[]) OR r.invoke_id = ANY($2::text[])
ORDER BY r.id
