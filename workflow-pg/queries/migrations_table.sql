-- Whether the schema has its table of migrations.
SELECT to_regclass('workflow.migrations') IS NOT NULL
