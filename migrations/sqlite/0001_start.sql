-- The ledger's first schema. `PRAGMA user_version` says which schema a database has; a
-- migration that has been released is never changed, a new one is added beside it.
--
-- Times are milliseconds since 1970 in UTC, ids 16 bytes, digests raw bytes. A generation is
-- the pair (epoch, number).

-- One row: what this cluster is, and what is drawn from in a transaction.
CREATE TABLE settings (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    cluster_id      BLOB    NOT NULL CHECK (length(cluster_id) = 16),
    epoch           INTEGER NOT NULL,
    -- The number that the next decision gets.
    next_number     INTEGER NOT NULL,
    -- Names of files up to this seq are in name_grams; later ones are read one by one.
    names_indexed   INTEGER NOT NULL DEFAULT 0,
    checked_at      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row, changed in the same transactions as what it counts.
CREATE TABLE counters (
    one              INTEGER PRIMARY KEY CHECK (one = 1),
    files            INTEGER NOT NULL DEFAULT 0,
    blobs            INTEGER NOT NULL DEFAULT 0,
    bytes            INTEGER NOT NULL DEFAULT 0,
    pending_replicas INTEGER NOT NULL DEFAULT 0,
    stored_replicas  INTEGER NOT NULL DEFAULT 0,
    bad_replicas     INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE nodes (
    node_no        INTEGER PRIMARY KEY,
    id             BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    key_id         INTEGER NOT NULL,
    place_name     TEXT    NOT NULL,
    place_country  TEXT,
    place_lat      REAL    NOT NULL,
    place_lon      REAL    NOT NULL,
    failure_domain TEXT    NOT NULL,
    public_url     TEXT    NOT NULL,
    version        TEXT    NOT NULL,
    seen_at        INTEGER NOT NULL,
    -- Absent for so long that its replicas no longer count.
    is_out         INTEGER NOT NULL DEFAULT 0,
    -- Its stored replicas and their bytes.
    replicas       INTEGER NOT NULL DEFAULT 0,
    bytes          INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A blob's row outlives its content as a tombstone, so that its generations only rise.
CREATE TABLE blobs (
    blob_no      INTEGER PRIMARY KEY,
    sha1         BLOB    NOT NULL UNIQUE CHECK (length(sha1) = 20),
    sha256       BLOB    NOT NULL CHECK (length(sha256) = 32),
    size         INTEGER NOT NULL CHECK (size >= 0),
    -- 0 live; kept for later: 1 condemned, 2 deleting, 3 gone.
    state        INTEGER NOT NULL DEFAULT 0,
    epoch        INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    -- How many files on it anybody sees.
    public_files INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL
) STRICT;

-- "Does anybody see a file of this size?" without meeting a tombstone.
CREATE INDEX blobs_by_size ON blobs (size) WHERE public_files > 0;

CREATE TABLE replicas (
    blob_no     INTEGER NOT NULL REFERENCES blobs,
    node_no     INTEGER NOT NULL REFERENCES nodes,
    -- 0 pending, 1 stored, 2 bad.
    state       INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
    upload      BLOB    NOT NULL CHECK (length(upload) = 16),
    epoch       INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    verified_at INTEGER NOT NULL,
    decided_at  INTEGER NOT NULL,
    PRIMARY KEY (blob_no, node_no)
) STRICT, WITHOUT ROWID;

CREATE INDEX replicas_pending ON replicas (node_no, decided_at) WHERE state = 0;

-- seq is the order of the list of files; AUTOINCREMENT never gives one again.
CREATE TABLE files (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    blob_no    INTEGER NOT NULL REFERENCES blobs,
    name       TEXT    NOT NULL,
    -- The name as it is searched; see src/ledger/names.rs.
    folded     TEXT    NOT NULL,
    media_type TEXT    NOT NULL,
    -- For later: whose it is, and who sees it (0: everybody).
    owner      BLOB,
    visibility INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    removed_at INTEGER
) STRICT;

CREATE INDEX files_by_blob ON files (blob_no) WHERE removed_at IS NULL;

-- Every 1, 2 and 3 characters in a row of a folded name, coded as words; rowid is files.seq.
-- Nothing but the lists of rows is kept.
CREATE VIRTUAL TABLE name_grams USING fts5 (
    grams, content = '', columnsize = 0, detail = none, tokenize = 'ascii'
);

-- Merge eight segments at a time instead of four: less is written again, for a little more to
-- look through in a search.
INSERT INTO name_grams (name_grams, rank) VALUES ('automerge', 8);

-- Apart from blobs, as no link reads them: up to 8 MiB for a file of 1 TiB.
CREATE TABLE pieces (
    blob_no INTEGER PRIMARY KEY REFERENCES blobs,
    -- The SHA-256 of every piece, one behind the other.
    sha256  BLOB NOT NULL CHECK (length(sha256) % 32 = 0)
) STRICT;

-- What was decided about an upload, kept a day so that asking again gives the same answer.
CREATE TABLE uploads (
    upload_no     INTEGER PRIMARY KEY,
    id            BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    -- Null until it is decided: 0 stored, 1 duplicate.
    outcome       INTEGER,
    blob_no       INTEGER REFERENCES blobs,
    epoch         INTEGER,
    number        INTEGER,
    -- The ids of the nodes whose sessions are kept, one behind the other.
    keep          BLOB,
    decided_at    INTEGER,
    -- For resumable uploads, whose row is made before they are decided.
    owner         BLOB,
    nodes         BLOB,
    declared_size INTEGER,
    created_at    INTEGER,
    expires_at    INTEGER
) STRICT;

CREATE INDEX uploads_decided ON uploads (decided_at) WHERE decided_at IS NOT NULL;

INSERT INTO counters (one) VALUES (1);
