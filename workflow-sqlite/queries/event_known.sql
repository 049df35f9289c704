-- Returns whether an event with this id is buffered.
-- ?1 id.
SELECT EXISTS (SELECT 1 FROM wf_event WHERE id = ?1) AS known;
