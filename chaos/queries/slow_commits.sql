-- A table that takes its time while rows of it are committed.
CREATE TABLE chaos_slow (millis integer NOT NULL);
CREATE FUNCTION chaos_linger() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_sleep(NEW.millis / 1000.0); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER chaos_linger_at_commit AFTER INSERT ON chaos_slow DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION chaos_linger();
