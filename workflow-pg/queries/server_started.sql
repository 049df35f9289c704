-- Since when the server runs.
SELECT pg_postmaster_start_time()
