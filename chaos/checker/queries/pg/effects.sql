-- What transactions wrote.
SELECT e.run, e.step, e.nth, e.token, e.account, e.amount
FROM chaos_effect AS e
ORDER BY e.run, e.step, e.nth, e.token, e.account
