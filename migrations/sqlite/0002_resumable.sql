-- Resumable uploads: their row is made before they are decided.
--
-- decided_at is also set where one ended without a decision, so that both are forgotten alike.

ALTER TABLE uploads ADD COLUMN name       TEXT;
ALTER TABLE uploads ADD COLUMN media_type TEXT;
-- What the sender announced, as far as it did.
ALTER TABLE uploads ADD COLUMN sha1       BLOB CHECK (sha1 IS NULL OR length(sha1) = 20);
ALTER TABLE uploads ADD COLUMN sha256     BLOB CHECK (sha256 IS NULL OR length(sha256) = 32);
-- Null unless it ended undecided: 1 terminated, 2 expired, 3 wrong digest, 4 collision attack,
-- 5 collision.
ALTER TABLE uploads ADD COLUMN ended      INTEGER;

CREATE INDEX uploads_expiring ON uploads (expires_at)
    WHERE decided_at IS NULL AND expires_at IS NOT NULL;
