-- The tables of workflow: runs, their journals and inboxes, events and who waits for them, executors.
-- Payloads are bytes with the tag of their codec. Text is compared by its bytes.

CREATE TABLE workflow.executors (
    id            uuid        NOT NULL,
    name          text        NOT NULL,
    state         text        NOT NULL DEFAULT 'alive',
    registered_at timestamptz NOT NULL,
    lease_until   timestamptz NOT NULL,
    presence      bigint,
    notice_us     bigint      NOT NULL DEFAULT 60000,
    CONSTRAINT executor_id_is_used_once PRIMARY KEY (id),
    CONSTRAINT executor_state_is_known CHECK (state IN ('alive', 'closed', 'dead'))
) WITH (fillfactor = 50);

COMMENT ON TABLE workflow.executors IS
    'A row per life of an executor. Heartbeats move lease_until; a dead or closed one stays until it has no runs.';

COMMENT ON COLUMN workflow.executors.presence IS
    'The advisory lock that a session of its process holds. When it is free the process is gone.';

COMMENT ON COLUMN workflow.executors.notice_us IS
    'How many microseconds the lease goes on for at least when the process seems to be gone.';

CREATE TABLE workflow.executor_writers (
    executor_id uuid     NOT NULL,
    slot        smallint NOT NULL,
    CONSTRAINT executor_writer_slot_is_once PRIMARY KEY (executor_id, slot)
);

COMMENT ON TABLE workflow.executor_writers IS
    'The fence. A commit locks one row FOR KEY SHARE; who declares the executor dead locks all FOR UPDATE and deletes them.';

CREATE TABLE workflow.runs (
    id             uuid        NOT NULL,
    workflow       text        COLLATE "C" NOT NULL,
    version        integer     NOT NULL,
    queue          text        COLLATE "C" NOT NULL,
    status         text        COLLATE "C" NOT NULL,
    input_codec    smallint    NOT NULL,
    input          bytea       NOT NULL,
    input_digest   bytea       NOT NULL,
    output_codec   smallint,
    output         bytea,
    invoke_id      text        COLLATE "C",
    parent_id      uuid,
    parent_kind    text        COLLATE "C",
    parent_name    text        COLLATE "C",
    parent_nth     integer,
    depth          integer     NOT NULL,
    retain_us      bigint      NOT NULL,
    owner          uuid,
    claim_id       uuid,
    ready_at       timestamptz,
    wake_at        timestamptz,
    mail           bigint      NOT NULL DEFAULT 0,
    crashes        integer     NOT NULL DEFAULT 0,
    rescued_length integer     NOT NULL DEFAULT 0,
    park_code      text        COLLATE "C",
    park_message   text,
    created_at     timestamptz NOT NULL,
    finished_at    timestamptz,
    expires_at     timestamptz,
    CONSTRAINT run_id_is_once PRIMARY KEY (id),
    CONSTRAINT run_status_is_known CHECK (
        status IN ('ready', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'parked')
    ),
    CONSTRAINT run_is_owned_while_running CHECK ((status = 'running') = (owner IS NOT NULL)),
    CONSTRAINT run_ready_has_its_time CHECK (status <> 'ready' OR ready_at IS NOT NULL),
    CONSTRAINT run_over_has_its_end CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

COMMENT ON COLUMN workflow.runs.mail IS 'How many messages were ever delivered: the seq of the last one.';
COMMENT ON COLUMN workflow.runs.claim_id IS 'The claim that gave the run to its owner, so that a claim whose answer was lost can be undone.';
COMMENT ON COLUMN workflow.runs.rescued_length IS 'How long the journal was at the last rescue: longer means progress.';

CREATE UNIQUE INDEX run_invoke_id_is_once ON workflow.runs (invoke_id) WHERE invoke_id IS NOT NULL;
CREATE INDEX runs_ready ON workflow.runs (queue, ready_at, id) WHERE status = 'ready';
CREATE INDEX runs_due ON workflow.runs (queue, wake_at, id) WHERE status = 'waiting' AND wake_at IS NOT NULL;
CREATE INDEX runs_owned ON workflow.runs (owner, id) WHERE status = 'running';
CREATE INDEX runs_parked ON workflow.runs (park_code, id) WHERE status = 'parked';
CREATE INDEX runs_children ON workflow.runs (parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX runs_expired ON workflow.runs (expires_at, id) WHERE expires_at IS NOT NULL;

-- No foreign key: it would lock the run's row at every step.
CREATE TABLE workflow.journal (
    run_id      uuid        NOT NULL,
    position    integer     NOT NULL,
    kind        text        COLLATE "C" NOT NULL,
    name        text        COLLATE "C" NOT NULL,
    nth         integer     NOT NULL,
    phase       text        COLLATE "C" NOT NULL,
    codec       smallint    NOT NULL,
    payload     bytea       NOT NULL,
    mark        bigint,
    version     smallint    NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT journal_position_is_once PRIMARY KEY (run_id, position)
);

CREATE TABLE workflow.inbox (
    run_id  uuid        NOT NULL,
    seq     bigint      NOT NULL,
    kind    text        COLLATE "C" NOT NULL,
    name    text        COLLATE "C" NOT NULL,
    nth     integer     NOT NULL,
    phase   text        COLLATE "C" NOT NULL,
    codec   smallint    NOT NULL,
    payload bytea       NOT NULL,
    mark    bigint,
    sent_at timestamptz NOT NULL,
    CONSTRAINT inbox_seq_is_once PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE workflow.topics (
    name text   COLLATE "C" NOT NULL,
    key  text   COLLATE "C" NOT NULL,
    seq  bigint NOT NULL DEFAULT 0,
    CONSTRAINT topic_is_once PRIMARY KEY (name, key)
) WITH (fillfactor = 50);

COMMENT ON TABLE workflow.topics IS
    'A row per topic that was ever emitted to or waited for, with the seq of its last event. Emitting and waiting lock it.';

CREATE TABLE workflow.events (
    name       text        COLLATE "C" NOT NULL,
    key        text        COLLATE "C" NOT NULL,
    seq        bigint      NOT NULL,
    id         uuid        NOT NULL,
    codec      smallint    NOT NULL,
    payload    bytea       NOT NULL,
    emitted_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT event_seq_is_once PRIMARY KEY (name, key, seq),
    CONSTRAINT event_id_is_once UNIQUE (id)
);

CREATE INDEX events_expired ON workflow.events (expires_at, name, key, seq);

CREATE TABLE workflow.subscriptions (
    run_id     uuid    NOT NULL,
    kind       text    COLLATE "C" NOT NULL,
    name       text    COLLATE "C" NOT NULL,
    nth        integer NOT NULL,
    topic_name text    COLLATE "C" NOT NULL,
    topic_key  text    COLLATE "C" NOT NULL,
    after_seq  bigint  NOT NULL,
    CONSTRAINT subscription_is_once PRIMARY KEY (run_id, kind, name, nth)
);

CREATE INDEX subscriptions_of_topic ON workflow.subscriptions (topic_name, topic_key, after_seq);

-- A payload as people read it: JSON where it is JSON, NULL where it is anything else or broken.
CREATE FUNCTION workflow.payload_json(codec smallint, payload bytea) RETURNS jsonb
    LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
    IF codec <> 0 THEN
        RETURN NULL;
    END IF;
    RETURN convert_from(payload, 'UTF8')::jsonb;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;

CREATE VIEW workflow.run AS
SELECT r.id, r.invoke_id, r.workflow, r.version, r.queue, r.status,
       workflow.payload_json(r.input_codec, r.input) AS input,
       workflow.payload_json(r.output_codec, r.output) AS output,
       r.parent_id, r.depth, r.owner, e.name AS owner_name, r.ready_at, r.wake_at, r.mail, r.crashes,
       r.park_code, r.park_message, r.created_at, r.finished_at, r.expires_at
FROM workflow.runs AS r
LEFT JOIN workflow.executors AS e ON e.id = r.owner;

CREATE VIEW workflow.journal_entry AS
SELECT j.run_id, j.position, j.kind, j.name, j.nth, j.phase,
       workflow.payload_json(j.codec, j.payload) AS payload,
       j.codec, octet_length(j.payload) AS payload_bytes, j.mark, j.version, j.recorded_at
FROM workflow.journal AS j;

CREATE VIEW workflow.inbox_message AS
SELECT i.run_id, i.seq, i.kind, i.name, i.nth, i.phase,
       workflow.payload_json(i.codec, i.payload) AS payload,
       i.codec, i.mark, i.sent_at
FROM workflow.inbox AS i;

CREATE VIEW workflow.event AS
SELECT e.name, e.key, e.seq, e.id, workflow.payload_json(e.codec, e.payload) AS payload,
       e.codec, e.emitted_at, e.expires_at
FROM workflow.events AS e;
