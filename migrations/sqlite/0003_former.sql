-- The nodes that an unfinished upload was taken away from, one behind the other: one that was only
-- away still has a session, and its space, until it is told.

ALTER TABLE uploads ADD COLUMN former BLOB NOT NULL DEFAULT x'' CHECK (length(former) % 16 = 0);
