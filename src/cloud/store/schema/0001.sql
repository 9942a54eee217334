-- Times are milliseconds since the Unix epoch. Tokens are stored as SHA-256, secrets sealed.

CREATE TABLE cluster (
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    machine_config BLOB NOT NULL,            -- sealed: the operator's bytes
    tailscale_key  BLOB,                     -- sealed
    kernel_args    TEXT NOT NULL,
    kernel         TEXT NOT NULL,            -- digests of blobs
    kernel_size    INTEGER NOT NULL,
    initramfs      TEXT NOT NULL,
    initramfs_size INTEGER NOT NULL,
    created_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE site (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    cluster    INTEGER NOT NULL REFERENCES cluster (id),
    policy     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    joined_at  INTEGER
) STRICT;

CREATE TABLE join_token (
    secret_hash BLOB PRIMARY KEY,
    site        INTEGER NOT NULL REFERENCES site (id),
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE site_ticket_key (
    site       INTEGER NOT NULL REFERENCES site (id),
    public_key BLOB NOT NULL,
    added_at   INTEGER NOT NULL,
    PRIMARY KEY (site, public_key)
) STRICT, WITHOUT ROWID;

-- A client certificate is good only while it stands here.
CREATE TABLE site_certificate (
    fingerprint TEXT PRIMARY KEY,
    site        INTEGER NOT NULL REFERENCES site (id),
    issued_at   INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE node (
    id          INTEGER PRIMARY KEY,
    site        INTEGER NOT NULL REFERENCES site (id),
    mac         TEXT NOT NULL,
    uuid        TEXT NOT NULL,               -- empty: the machine has none that tells it apart
    code        TEXT NOT NULL UNIQUE,
    state       TEXT NOT NULL,
    reason      TEXT NOT NULL,               -- why it is in that state
    hostname    TEXT NOT NULL,
    serial      TEXT NOT NULL,
    product     TEXT NOT NULL,
    local_boot  TEXT NOT NULL,
    first_seen  INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    UNIQUE (site, mac, uuid)
) STRICT;
CREATE INDEX node_by_mac ON node (mac);
CREATE INDEX node_by_uuid ON node (uuid);

CREATE TABLE session (
    id         INTEGER PRIMARY KEY,
    site       INTEGER NOT NULL REFERENCES site (id),
    boot       TEXT NOT NULL,
    node       INTEGER NOT NULL REFERENCES node (id),
    started_at INTEGER NOT NULL,
    outcome    TEXT NOT NULL,
    UNIQUE (site, boot, node)
) STRICT;
CREATE INDEX session_by_node ON session (node);

CREATE TABLE used_ticket (
    site       INTEGER NOT NULL,
    nonce      BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (site, nonce)
) STRICT, WITHOUT ROWID;
CREATE INDEX used_ticket_by_expiry ON used_ticket (expires_at);

-- What a waiting node asks again with, and what Talos fetches its config with.
CREATE TABLE token (
    hash       BLOB PRIMARY KEY,
    purpose    TEXT NOT NULL,                -- continuation, config
    session    INTEGER NOT NULL REFERENCES session (id),
    node       INTEGER NOT NULL REFERENCES node (id),
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX token_by_expiry ON token (expires_at);
CREATE INDEX token_by_node ON token (node);

-- The timeline. The edge's reports may come before the session they belong to: they meet on site and boot.
CREATE TABLE event (
    id      INTEGER PRIMARY KEY,
    site    INTEGER NOT NULL REFERENCES site (id),
    boot    TEXT NOT NULL,
    source  TEXT NOT NULL,                   -- edge, cloud
    node    INTEGER,                         -- NULL: of the boot, whichever node it turns out to be
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    alarm   INTEGER NOT NULL,
    summary TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_boot ON event (site, boot, at);

CREATE TABLE spool (
    site         INTEGER NOT NULL REFERENCES site (id),
    name         TEXT NOT NULL,
    stored_up_to INTEGER NOT NULL,
    PRIMARY KEY (site, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;
