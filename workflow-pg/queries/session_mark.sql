-- The word that mark_session left in the session: word, NULL for none.
SELECT current_setting('workflow.session', TRUE) AS word
