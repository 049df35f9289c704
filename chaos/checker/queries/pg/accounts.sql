-- All accounts.
SELECT a.id, a.balance
FROM chaos_account AS a
ORDER BY a.id, a.balance
