-- Takes the parent from children of runs that are about to be deleted; the time of those that are over has come.
--
-- $1 ids of the children, $2 ids of the parents
UPDATE workflow.runs AS r
SET parent_id = NULL, parent_kind = NULL, parent_name = NULL, parent_nth = NULL,
    expires_at = CASE WHEN r.finished_at IS NOT NULL THEN clock_timestamp() ELSE r.expires_at END
WHERE r.id = ANY($1::uuid[]) AND r.parent_id = ANY($2::uuid[])
