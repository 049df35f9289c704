-- Adds entries to journals. Fails when a position is taken.
-- Per row: run, position, version of the format, kind, name, nth, phase, mark, codec, payload, recorded_at.
INSERT INTO wf_journal (
    run, position, entry_version, kind, name, nth, phase, mark, codec, payload, recorded_at
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
