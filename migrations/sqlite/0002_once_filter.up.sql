-- Rows through `once_placing` get their places now, in the order of their names; those through
-- `once_placing_name` have them. So an end in the middle loses nothing of that.
ALTER TABLE meta ADD COLUMN once_placing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN once_placing_name INTEGER NOT NULL DEFAULT 0;

-- Which names have places, as a clean end leaves it: a Bloom filter in parts, right while `meta` says the same
-- of which rows have theirs. Without it, or with one of another moment, the names are gathered from
-- `once_places`.
CREATE TABLE once_filter (
    part         INTEGER PRIMARY KEY,
    parts        INTEGER NOT NULL,
    placed       INTEGER NOT NULL,
    placing      INTEGER NOT NULL,
    placing_name INTEGER NOT NULL,
    names        INTEGER NOT NULL,
    names_max    INTEGER NOT NULL,
    bits         BLOB    NOT NULL,
    seal         INTEGER NOT NULL
);
