DROP INDEX records_fence;
