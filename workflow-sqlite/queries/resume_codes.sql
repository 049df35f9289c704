-- Makes parked runs ready. Returns their queues.
-- ?1 JSON array of codes, ?2 JSON array of [workflow, version], ?3 now.
UPDATE wf_run SET status = 'ready', ready_at = ?3, crashes = 0, park_code = NULL, park_message = NULL
WHERE status = 'parked'
    AND park_code IN (SELECT value FROM json_each(?1))
    AND (workflow, version) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?2))
RETURNING queue;
