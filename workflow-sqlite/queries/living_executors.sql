-- Returns the executors that nobody found dead.
SELECT id FROM wf_executor WHERE dead = 0;
