-- Returns children of a run, newest id first.
-- ?1 JSON array of statuses or NULL, ?2 workflow or NULL, ?3 queue or NULL, ?4 only ids below this one or NULL,
-- ?5 how many at most, ?6 the parent.
SELECT
    id, invoke_id, workflow, version, queue, status, input_codec, input, output_codec, output, park_code, park_message,
    parent_run, parent_kind, parent_name, parent_nth, depth, owner, wake_at, crashes, created_at, finished_at
FROM wf_run
WHERE parent_run = ?6
    AND (?1 IS NULL OR status IN (SELECT value FROM json_each(?1)))
    AND (?2 IS NULL OR workflow = ?2)
    AND (?3 IS NULL OR queue = ?3)
    AND id < COALESCE(?4, x'ffffffffffffffffffffffffffffffffff')
ORDER BY id DESC
LIMIT ?5;
