-- Registers an executor; once more for the same living one is harmless. Returns a row unless it was declared dead.
-- ?1 executor, ?2 name, ?3 end of its lease, ?4 now.
INSERT INTO wf_executor (id, name, lease_until, registered_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until WHERE dead = 0 AND lease_until > ?4
RETURNING lease_until;
