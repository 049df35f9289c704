-- Ends a subscription. Returns nothing.
-- ?1 run, ?2 kind, ?3 name, ?4 nth of the operation.
DELETE FROM wf_subscription WHERE run = ?1 AND op_kind = ?2 AND op_name = ?3 AND op_nth = ?4;
