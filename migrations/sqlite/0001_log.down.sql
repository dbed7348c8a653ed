-- Removes the log and everything beside it.
DROP TABLE records;
DROP TABLE once_places;
DROP TABLE once;
DROP TABLE batches;
DROP TABLE events;
DROP TABLE sources;
DROP TABLE topics;
DROP TABLE meta;
