-- A node has several hardware addresses; by them it is found. `node.mac` is the one that it was first seen with.
CREATE TABLE node_mac (
    mac        TEXT NOT NULL,
    node       INTEGER NOT NULL REFERENCES node (id),
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (mac, node)
) STRICT, WITHOUT ROWID;
INSERT INTO node_mac (mac, node, first_seen) SELECT mac, id, first_seen FROM node;
CREATE INDEX node_mac_by_node ON node_mac (node);

ALTER TABLE node ADD COLUMN vendor TEXT NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN arch TEXT NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN last_seen INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN held INTEGER NOT NULL DEFAULT 0;       -- number of the node that it may be taken for, 0: none
ALTER TABLE node ADD COLUMN let_in_at INTEGER NOT NULL DEFAULT 0;  -- when its site's policy let it in, 0: a person did, or nobody
UPDATE node SET last_seen = changed_at;
CREATE INDEX node_by_serial ON node (serial);
CREATE INDEX node_by_hostname ON node (hostname);
CREATE INDEX node_by_state ON node (state, id);
CREATE INDEX node_by_site ON node (site, state, id);
CREATE INDEX node_by_letting_in ON node (site, let_in_at);

ALTER TABLE site ADD COLUMN most_per_day INTEGER;                  -- NULL: any number
ALTER TABLE site ADD COLUMN hours TEXT NOT NULL DEFAULT '';        -- UTC, empty: always
ALTER TABLE site ADD COLUMN revoked_at INTEGER;                    -- NULL: in service

-- Machines that a site lets in under the policy `allow`: what is not empty must be as written.
CREATE TABLE allowed (
    id       INTEGER PRIMARY KEY,
    site     INTEGER NOT NULL REFERENCES site (id),
    uuid     TEXT NOT NULL,
    serial   TEXT NOT NULL,
    mac      TEXT NOT NULL,
    hostname TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    UNIQUE (site, uuid, serial, mac)
) STRICT;

-- Nodes that are alike. What is not empty must match, with * at the end for anything.
CREATE TABLE class (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    arch       TEXT NOT NULL,
    vendor     TEXT NOT NULL,
    product    TEXT NOT NULL,
    serial     TEXT NOT NULL,
    site       TEXT NOT NULL,
    labels     TEXT NOT NULL,                                     -- a JSON object of texts
    created_at INTEGER NOT NULL
) STRICT;
