CREATE TABLE keys (
    instance     TEXT NOT NULL,
    hash         BLOB NOT NULL,
    id           TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    user_email   TEXT,
    name         TEXT NOT NULL,
    prefix       TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    created_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER,
    revoked_by   TEXT,
    PRIMARY KEY (instance, hash)
) WITHOUT ROWID;

CREATE INDEX keys_by_id ON keys (instance, id);

-- Every revocation, whether the key is known or not: a key that is learned later under the same id is revoked.
CREATE TABLE tombstones (
    instance TEXT NOT NULL,
    id       TEXT NOT NULL,
    at       INTEGER NOT NULL,
    "by"     TEXT NOT NULL,
    PRIMARY KEY (instance, id)
) WITHOUT ROWID;
