-- The names are gathered again.
DROP TABLE once_filter;
