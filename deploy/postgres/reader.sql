-- Whom the dashboards read as: the database of the dev stack, without the right to change anything.
CREATE ROLE reader LOGIN PASSWORD 'reader' CONNECTION LIMIT 10;
GRANT pg_read_all_data TO reader;
ALTER ROLE reader SET default_transaction_read_only = on;
ALTER ROLE reader SET statement_timeout = '5s';
