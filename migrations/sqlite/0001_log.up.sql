-- The log, and the state beside it.

-- One row: which life of the log this is, how far retention has cut it, and which rows of `once` have their
-- places.
CREATE TABLE meta (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    epoch       INTEGER NOT NULL,
    pruned_seq  INTEGER NOT NULL DEFAULT 0,
    pruned_hash BLOB    NOT NULL,
    once_placed INTEGER NOT NULL DEFAULT 0
);

-- Names that repeat in every event are kept once.
CREATE TABLE topics (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE sources (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- The commitment is the hash over salt, key, causes and payload, and only stored when they are not: erasing
-- an event sets it, and them to NULL, so that the chain stays whole.
-- `seal` covers the whole row, so that a page can be checked without its batch.
CREATE TABLE events (
    seq        INTEGER PRIMARY KEY,
    id         BLOB    NOT NULL,
    topic      INTEGER NOT NULL,
    source     INTEGER NOT NULL,
    time_us    INTEGER NOT NULL,
    seal       INTEGER NOT NULL,
    salt       BLOB,
    commitment BLOB,
    key        TEXT,
    causes     BLOB,
    payload    BLOB
);

CREATE UNIQUE INDEX events_id ON events (id);
-- SQLite ends every index with the row's number, which is `seq`: so this is an index over (topic, seq).
CREATE INDEX events_topic ON events (topic);

-- The links of the chain, one for each commit that had events.
CREATE TABLE batches (
    last    INTEGER PRIMARY KEY,
    first   INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    hash    BLOB    NOT NULL
);

-- What happens only once, in the order it came. `name` and `name_rest` are a hash of scope, kind and key.
CREATE TABLE once (
    n           INTEGER PRIMARY KEY,
    name        INTEGER NOT NULL,
    name_rest   INTEGER NOT NULL,
    fingerprint BLOB,
    first       INTEGER,
    last        INTEGER,
    expires_us  INTEGER,
    seal        INTEGER NOT NULL
);

-- Finds the rows of `once` by name, through `meta.once_placed`: names come in no order, so they are added
-- many at once. A place without a row means nothing.
CREATE TABLE once_places (
    name INTEGER NOT NULL,
    n    INTEGER NOT NULL,
    PRIMARY KEY (name, n)
) WITHOUT ROWID;

CREATE TABLE records (
    family   TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    owner    TEXT,
    scope    TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    due_us   INTEGER,
    revision INTEGER NOT NULL,
    fence    INTEGER,
    body     BLOB    NOT NULL,
    seal     INTEGER NOT NULL,
    PRIMARY KEY (family, key)
) WITHOUT ROWID;

CREATE INDEX records_scope ON records (family, scope, key);
CREATE INDEX records_due ON records (family, state, due_us) WHERE due_us IS NOT NULL;
-- Retention asks which records hold on to the oldest events.
CREATE INDEX records_fence ON records (fence) WHERE fence IS NOT NULL;
