-- Which key sealed the secrets; a sealed value names it too.
CREATE TABLE store_key (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    id    BLOB NOT NULL,
    since INTEGER NOT NULL                   -- 0: from the beginning
) STRICT;
