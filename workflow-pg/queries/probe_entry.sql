-- Tries to take a position, to be rolled back by the caller: waits for whoever is writing it. Touches no row when the
-- position is taken.
--
-- $1 run id, $2 position
INSERT INTO workflow.journal (run_id, position, kind, name, nth, phase, codec, payload, mark, version, recorded_at)
VALUES ($1, $2, 'probe', '', 1, 'ok', 0, '\x', NULL, 0, clock_timestamp())
ON CONFLICT (run_id, position) DO NOTHING
