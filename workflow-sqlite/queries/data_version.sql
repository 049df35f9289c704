-- Returns a number that changes when another connection wrote to the file.
PRAGMA data_version;
