-- The whole journals and inboxes of claimed runs: rows (run_id, position, seq, kind, name, nth, phase, codec, payload, mark,
-- version, recorded_at) in any order; entries without a seq, messages without position, version and recorded_at. No limit: a
-- claim brings whole journals, and their length is limited when they are written.
--
-- $1 run ids, $2 those of them that ever had mail
SELECT j.run_id, j.position, NULL::bigint AS seq, j.kind, j.name, j.nth, j.phase, j.codec, j.payload, j.mark, j.version,
       j.recorded_at
FROM workflow.journal AS j
WHERE j.run_id = ANY($1::uuid[])
UNION ALL
SELECT i.run_id, NULL::integer, i.seq, i.kind, i.name, i.nth, i.phase, i.codec, i.payload, i.mark, NULL::smallint,
       NULL::timestamptz
FROM workflow.inbox AS i
WHERE i.run_id = ANY($2::uuid[])
