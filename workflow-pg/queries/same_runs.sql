-- The runs that stand in the way of creating others.
-- Returns id, invoke_id, workflow, input_digest.
--
-- $1 ids, $2 invoke_ids
SELECT r.id, r.invoke_id, r.workflow, r.input_digest
FROM workflow.runs AS r
WHERE r.id = ANY($1::uuid[]) OR r.invoke_id = ANY($2::text[])
ORDER BY r.id
