-- Whether the server has been there for long enough that whoever lost its sessions by a restart has new ones.
SELECT pg_postmaster_start_time() < clock_timestamp() - INTERVAL '5 seconds'
