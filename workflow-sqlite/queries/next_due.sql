-- Returns when the next hung-up run is due, or NULL.
SELECT MIN(wake_at) AS wake_at FROM wf_run WHERE status = 'waiting' AND wake_at IS NOT NULL;
