-- Whose unfinished upload it is: an IPv6 address, an IPv4 one mapped into it, zeros where it is unknown.
-- Null as soon as it is decided or ended.

ALTER TABLE uploads ADD COLUMN sender BLOB CHECK (sender IS NULL OR length(sender) = 16);

CREATE INDEX uploads_unfinished ON uploads (sender) WHERE sender IS NOT NULL;
