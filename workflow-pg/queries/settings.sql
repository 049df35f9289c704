-- What a connection's server is and how safe it is set: version (as server_version_num), fsync, full_page_writes,
-- synchronous_commit.
SELECT current_setting('server_version_num')::integer AS version, current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit
