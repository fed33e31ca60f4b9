-- The list in order of names; seq, the row's own number, parts equal ones.
--
-- By size it goes along blobs_by_size and then files_by_blob: another index for it would be one more
-- random page that each decision writes.

CREATE INDEX files_by_name ON files (folded) WHERE removed_at IS NULL AND visibility = 0;
