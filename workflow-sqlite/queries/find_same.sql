-- Returns the run with this id, else the one with this invoke_id, with what tells whether it is the same.
-- ?1 id, ?2 invoke_id or NULL.
SELECT id, workflow, input_digest FROM wf_run WHERE id = ?1 OR invoke_id = ?2 ORDER BY id <> ?1 LIMIT 1;
