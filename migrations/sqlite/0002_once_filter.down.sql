-- The names are gathered again, and what is half placed gets its places again.
DROP TABLE once_filter;
ALTER TABLE meta DROP COLUMN once_placing_name;
ALTER TABLE meta DROP COLUMN once_placing;
