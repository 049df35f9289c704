-- Returns a run.
-- ?1 id.
SELECT
    id, invoke_id, workflow, version, queue, status, input_codec, input, output_codec, output, park_code, park_message,
    parent_run, parent_kind, parent_name, parent_nth, depth, owner, wake_at, crashes, created_at, finished_at
FROM wf_run
WHERE id = ?1;
