-- Buffers an event, in the place of an expired one with its id. Returns nothing.
-- ?1 id, ?2 name, ?3 key, ?4 seq, ?5 codec, ?6 payload, ?7 now, ?8 when its retention is over.
INSERT INTO wf_event (id, name, key, seq, codec, payload, created_at, expires_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name,
    key = excluded.key,
    seq = excluded.seq,
    codec = excluded.codec,
    payload = excluded.payload,
    created_at = excluded.created_at,
    expires_at = excluded.expires_at;
