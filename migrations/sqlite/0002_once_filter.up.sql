-- Which names have places, as a clean end leaves it: a Bloom filter in parts, right while `meta.once_placed`
-- is what it says. Without it, or with one of another moment, the names are gathered from `once_places`.
CREATE TABLE once_filter (
    part      INTEGER PRIMARY KEY,
    parts     INTEGER NOT NULL,
    placed    INTEGER NOT NULL,
    names     INTEGER NOT NULL,
    names_max INTEGER NOT NULL,
    bits      BLOB    NOT NULL,
    seal      INTEGER NOT NULL
);
