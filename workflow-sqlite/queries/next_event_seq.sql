-- Takes the next seq of a topic. Returns it.
-- ?1 name, ?2 key.
INSERT INTO wf_topic (name, key, seq) VALUES (?1, ?2, 1)
ON CONFLICT (name, key) DO UPDATE SET seq = seq + 1
RETURNING seq;
