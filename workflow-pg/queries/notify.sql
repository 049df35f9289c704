-- Tells other processes. Never inside the transaction of a batch: a commit that notifies takes a global lock.
--
-- $1 payloads, each below 8000 bytes
SELECT pg_notify('workflow', p.payload)
FROM unnest($1::text[]) WITH ORDINALITY AS p (payload, ix)
ORDER BY p.ix
