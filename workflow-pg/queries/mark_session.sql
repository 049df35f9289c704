-- Leaves a word in the session, for session_mark. Run without preparing it, so the word, a UUID, is put in by text.
SELECT set_config('workflow.session', 'WORD', FALSE) AS word
