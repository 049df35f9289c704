-- Whether the workloads' tables are there.
SELECT (to_regclass('chaos_effect') IS NOT NULL AND to_regclass('chaos_account') IS NOT NULL)::integer::bigint
