ALTER TABLE keys ADD COLUMN last_used_over TEXT;
ALTER TABLE keys ADD COLUMN policy TEXT NOT NULL DEFAULT '{}';
ALTER TABLE keys ADD COLUMN revoked_who TEXT;
ALTER TABLE keys ADD COLUMN revoked_why TEXT;
-- The place in lists: when the key was created, else when it came to be known.
ALTER TABLE keys ADD COLUMN listed_at INTEGER NOT NULL DEFAULT 0;
-- What a search looks through, in lower case.
ALTER TABLE keys ADD COLUMN searched TEXT NOT NULL DEFAULT '';

UPDATE keys SET
    listed_at = coalesce(created_at, last_used_at, revoked_at, 0),
    searched = lower(name || char(10) || prefix || char(10) || id || char(10) || user_id || char(10) || coalesce(user_email, ''));

CREATE INDEX keys_by_time ON keys (listed_at DESC, hash DESC, instance DESC);
CREATE INDEX keys_by_user ON keys (user_id, listed_at DESC, hash DESC, instance DESC);

ALTER TABLE tombstones ADD COLUMN who TEXT;
ALTER TABLE tombstones ADD COLUMN why TEXT;

-- Totals of each replica, so that writing one twice changes nothing.
CREATE TABLE usage_days (
    instance TEXT NOT NULL,
    hash     BLOB NOT NULL,
    day      INTEGER NOT NULL,
    replica  TEXT NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (instance, hash, day, replica)
) WITHOUT ROWID;

CREATE TABLE blocks (
    instance TEXT NOT NULL,
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    at       INTEGER NOT NULL,
    until    INTEGER,
    why      TEXT,
    PRIMARY KEY (instance, kind, subject)
) WITHOUT ROWID;

CREATE TABLE errands (
    instance   TEXT NOT NULL,
    key_id     TEXT NOT NULL,
    task       TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    user_email TEXT,
    state      TEXT NOT NULL,
    due        INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    note       TEXT,
    PRIMARY KEY (instance, key_id, task)
) WITHOUT ROWID;

CREATE INDEX errands_by_due ON errands (state, due);

CREATE TABLE audit (
    seq  INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- The chain's end once more: entries taken off it would not be missed otherwise.
CREATE TABLE audit_head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, '');
