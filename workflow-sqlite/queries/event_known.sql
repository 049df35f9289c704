-- Returns whether an event with this id is still buffered, or was emitted in this transaction.
-- ?1 id, ?2 now.
SELECT EXISTS (SELECT 1 FROM wf_event WHERE id = ?1 AND (expires_at > ?2 OR created_at = ?2)) AS known;
