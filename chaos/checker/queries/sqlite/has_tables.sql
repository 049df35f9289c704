-- Whether the workloads' tables are there.
SELECT count(*) = 2 FROM sqlite_master AS m WHERE m.type = 'table' AND m.name IN ('chaos_effect', 'chaos_account')
