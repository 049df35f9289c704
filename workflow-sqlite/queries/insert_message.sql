-- Puts a message in an inbox. Returns nothing.
-- ?1 run, ?2 seq, ?3 kind, ?4 name, ?5 nth, ?6 phase, ?7 mark, ?8 codec, ?9 payload.
INSERT INTO wf_inbox (run, seq, kind, name, nth, phase, mark, codec, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9);
