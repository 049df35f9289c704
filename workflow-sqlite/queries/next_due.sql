-- Returns when the next hung-up run is due after ?1, or NULL.
SELECT MIN(wake_at) AS wake_at FROM wf_run WHERE status = 'waiting' AND wake_at > ?1;
