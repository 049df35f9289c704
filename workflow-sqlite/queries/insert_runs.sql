-- Creates runs; leaves those out whose id or invoke_id exists. Returns the ids of those that were created.
-- Per row: id, invoke_id, workflow, version, queue, status, owner, ready_at, wake_at, depth, parent's run, kind, name
-- and nth, created_at, retain, digest of the input, codec, input.
INSERT INTO wf_run (
    id, invoke_id, workflow, version, queue, status, owner, ready_at, wake_at, depth,
    parent_run, parent_kind, parent_name, parent_nth, created_at, retain, input_digest, input_codec, input
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
RETURNING id;
