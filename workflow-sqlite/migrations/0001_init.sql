-- Everything a store needs. Instants are microseconds since 1970 in UTC, durations microseconds, ids 16 bytes.
-- Names begin with `wf_`, because the file may be the user's own; the views for people begin with `workflow_`.

CREATE TABLE wf_executor (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    dead INTEGER NOT NULL DEFAULT 0,
    registered_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE wf_run (
    id BLOB NOT NULL PRIMARY KEY,
    invoke_id TEXT,
    workflow TEXT NOT NULL,
    version INTEGER NOT NULL,
    queue TEXT NOT NULL,
    status TEXT NOT NULL,
    owner BLOB,
    ready_at INTEGER,
    wake_at INTEGER,
    mail INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    rescued_len INTEGER NOT NULL DEFAULT 0,
    depth INTEGER NOT NULL,
    parent_run BLOB,
    parent_kind TEXT,
    parent_name TEXT,
    parent_nth INTEGER,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    retain INTEGER NOT NULL,
    sweep_at INTEGER,
    park_code TEXT,
    park_message TEXT,
    input_digest BLOB NOT NULL,
    input_codec INTEGER NOT NULL,
    input BLOB NOT NULL,
    output_codec INTEGER,
    output BLOB,
    CONSTRAINT a_running_run_has_an_owner CHECK ((status = 'running') = (owner IS NOT NULL)),
    CONSTRAINT a_ready_run_has_a_place CHECK ((status = 'ready') = (ready_at IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX wf_run_one_per_invoke_id ON wf_run (invoke_id) WHERE invoke_id IS NOT NULL;

-- The claim's order, per kind of run, so that runs nobody here can drive don't stand in the way.
CREATE INDEX wf_run_ready ON wf_run (queue, workflow, version, ready_at, id) WHERE status = 'ready';

CREATE INDEX wf_run_due ON wf_run (queue, workflow, version, wake_at, id)
WHERE status = 'waiting' AND wake_at IS NOT NULL;

-- The heartbeat's: when is anything due?
CREATE INDEX wf_run_next_due ON wf_run (wake_at) WHERE status = 'waiting' AND wake_at IS NOT NULL;

CREATE INDEX wf_run_owned ON wf_run (owner, id) WHERE owner IS NOT NULL;

CREATE INDEX wf_run_children ON wf_run (parent_run) WHERE parent_run IS NOT NULL;

CREATE INDEX wf_run_parked ON wf_run (id) WHERE status = 'parked';

CREATE INDEX wf_run_to_sweep ON wf_run (sweep_at, id) WHERE sweep_at IS NOT NULL;

-- With a rowid: new entries of many runs fill the same pages, and only the small index is written all over.
CREATE TABLE wf_journal (
    run BLOB NOT NULL,
    position INTEGER NOT NULL,
    entry_version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    nth INTEGER NOT NULL,
    phase TEXT NOT NULL,
    mark INTEGER,
    codec INTEGER NOT NULL,
    payload BLOB NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX wf_journal_one_per_position ON wf_journal (run, position);

CREATE TABLE wf_inbox (
    run BLOB NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    nth INTEGER NOT NULL,
    phase TEXT NOT NULL,
    mark INTEGER,
    codec INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT;

CREATE TABLE wf_topic (
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE wf_event (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    payload BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX wf_event_one_per_seq ON wf_event (name, key, seq);

CREATE INDEX wf_event_to_sweep ON wf_event (expires_at);

CREATE TABLE wf_subscription (
    run BLOB NOT NULL,
    op_kind TEXT NOT NULL,
    op_name TEXT NOT NULL,
    op_nth INTEGER NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    after INTEGER NOT NULL,
    PRIMARY KEY (run, op_kind, op_name, op_nth)
) STRICT, WITHOUT ROWID;

CREATE INDEX wf_subscription_topic ON wf_subscription (name, key, after);

-- For people with `sqlite3`: ids and instants as text, JSON payloads as JSON text.
CREATE VIEW workflow_run AS
SELECT
    lower(substr(hex(id), 1, 8) || '-' || substr(hex(id), 9, 4) || '-' || substr(hex(id), 13, 4) || '-'
        || substr(hex(id), 17, 4) || '-' || substr(hex(id), 21)) AS id,
    invoke_id,
    workflow,
    version,
    queue,
    status,
    CASE WHEN input_codec = 0 THEN CAST(input AS TEXT) END AS input,
    CASE WHEN output_codec = 0 THEN CAST(output AS TEXT) END AS output,
    park_code,
    park_message,
    lower(substr(hex(parent_run), 1, 8) || '-' || substr(hex(parent_run), 9, 4) || '-'
        || substr(hex(parent_run), 13, 4) || '-' || substr(hex(parent_run), 17, 4) || '-'
        || substr(hex(parent_run), 21)) AS parent,
    lower(substr(hex(owner), 1, 8) || '-' || substr(hex(owner), 9, 4) || '-' || substr(hex(owner), 13, 4) || '-'
        || substr(hex(owner), 17, 4) || '-' || substr(hex(owner), 21)) AS owner,
    crashes,
    strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1e6, 'unixepoch') AS created_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', wake_at / 1e6, 'unixepoch') AS wake_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', finished_at / 1e6, 'unixepoch') AS finished_at
FROM wf_run;

CREATE VIEW workflow_journal_entry AS
SELECT
    lower(substr(hex(run), 1, 8) || '-' || substr(hex(run), 9, 4) || '-' || substr(hex(run), 13, 4) || '-'
        || substr(hex(run), 17, 4) || '-' || substr(hex(run), 21)) AS run,
    position,
    kind,
    name,
    nth,
    phase,
    mark,
    CASE WHEN codec = 0 THEN CAST(payload AS TEXT) END AS payload,
    strftime('%Y-%m-%dT%H:%M:%fZ', recorded_at / 1e6, 'unixepoch') AS recorded_at
FROM wf_journal;
