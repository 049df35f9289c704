-- Runs, newest id first. Planned anew each time, so that filters that are NULL cost nothing.
-- Returns id, invoke_id, workflow, version, queue, status, input_codec, input, output_codec, output, park_code,
-- park_message, parent_id, parent_kind, parent_name, parent_nth, depth, owner, wake_at, crashes, created_at, finished_at.
--
-- $1 statuses or NULL, $2 workflow or NULL, $3 queue or NULL, $4 parent or NULL, $5 below this id or NULL, $6 how many
SELECT r.id, r.invoke_id, r.workflow, r.version, r.queue, r.status, r.input_codec, r.input, r.output_codec, r.output,
       r.park_code, r.park_message, r.parent_id, r.parent_kind, r.parent_name, r.parent_nth, r.depth, r.owner, r.wake_at,
       r.crashes, r.created_at, r.finished_at
FROM workflow.runs AS r
WHERE ($1::text[] IS NULL OR r.status = ANY($1))
  AND ($2::text IS NULL OR r.workflow = $2)
  AND ($3::text IS NULL OR r.queue = $3)
  AND ($4::uuid IS NULL OR r.parent_id = $4)
  AND ($5::uuid IS NULL OR r.id < $5)
ORDER BY r.id DESC
LIMIT $6
