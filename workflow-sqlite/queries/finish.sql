-- Ends runs. A child of a run that exists is swept with it, any other when its time has come. Changes one row each.
-- Per row: run, status, codec, output, now.
WITH turn (run, status, codec, output, now) AS (
    VALUES (?, ?, ?, ?, ?)
)
UPDATE wf_run SET
    owner = NULL,
    status = turn.status,
    output_codec = turn.codec,
    output = turn.output,
    finished_at = turn.now,
    sweep_at = CASE
        WHEN EXISTS (SELECT 1 FROM wf_run AS p WHERE p.id = wf_run.parent_run) THEN NULL
        WHEN wf_run.retain > 9000000000000000000 - turn.now THEN 9000000000000000000
        ELSE turn.now + wf_run.retain
    END
FROM turn
WHERE wf_run.id = turn.run AND wf_run.status = 'running';
