-- The audit log is a chain: each line's hash covers its fields and the hash of the line before.
ALTER TABLE audit ADD COLUMN hash BLOB;      -- never NULL; SQLite adds no other column

CREATE TABLE audit_head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    line INTEGER NOT NULL,                   -- number of the last line, 0 when there is none
    hash BLOB NOT NULL
) STRICT;

CREATE INDEX audit_by_at ON audit (at);
CREATE INDEX audit_by_subject ON audit (subject, id);
