-- The change feed is Postgres's. Here the gateway asks the file whether another process changed it (PRAGMA data_version).
SELECT 1;
