-- Marks every executor as dead whose lease has run out. Returns those that were not marked before.
-- ?1 now.
UPDATE wf_executor SET dead = 1 WHERE dead = 0 AND lease_until <= ?1 RETURNING id;
