-- Retention asks which records hold on to the oldest events.
CREATE INDEX records_fence ON records (fence) WHERE fence IS NOT NULL;
