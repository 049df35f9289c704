-- Lets one migrator in at a time; readers pass.
LOCK TABLE workflow.migrations IN SHARE ROW EXCLUSIVE MODE
