#!/bin/sh
# Run once by PostgreSQL's image, when the data folder is new: a database, the role that owns it, and one for workers,
# which may enter it and do nothing there until `migrate --worker-role` lets it claim and renew. Neither is a superuser.
# psql quotes the passwords, and reads them from the files itself, so that they stand in no command line.
set -eu

psql --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\set password `cat "${MILVAION_PASSWORD_FILE:-/run/secrets/postgres_password}"`
\set worker_password `cat "${MILVAION_WORKER_PASSWORD_FILE:-/run/secrets/postgres_worker_password}"`
CREATE ROLE milvaion LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE ROLE milvaion_worker LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'worker_password';
CREATE DATABASE milvaion OWNER milvaion;
REVOKE ALL ON DATABASE milvaion FROM PUBLIC;
GRANT CONNECT ON DATABASE milvaion TO milvaion_worker;
SQL
