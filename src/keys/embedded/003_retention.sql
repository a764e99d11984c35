-- Where the chain begins: the last entry that was removed for its age.
CREATE TABLE audit_base (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_base (one, seq, hash) VALUES (1, 0, '');
