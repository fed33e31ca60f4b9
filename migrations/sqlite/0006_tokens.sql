-- Who may do what: tokens, of which only the SHA-256 is kept. One holds 256 random bits, so that nobody
-- finds it from its digest, and a slow hash with a salt would add nothing.

CREATE TABLE tokens (
    -- The order in which they were made.
    token_no   INTEGER PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    -- What the operator called it, if anything.
    name       TEXT,
    -- Names of scopes, joined by commas; see src/domain/token.rs.
    scopes     TEXT    NOT NULL,
    sha256     BLOB    NOT NULL UNIQUE CHECK (length(sha256) = 32),
    created_at INTEGER NOT NULL,
    -- Null: never.
    expires_at INTEGER,
    -- Null until it is revoked. Its row stays, so that the list tells what was.
    revoked_at INTEGER
) STRICT;
