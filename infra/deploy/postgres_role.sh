#!/bin/sh
# Run once by PostgreSQL's image, when the data folder is new: a role and a database for the program, which is no
# superuser. psql quotes the password, and reads it from the file itself, so that it stands in no command line.
set -eu

psql --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\set password `cat "${MILVAION_PASSWORD_FILE:-/run/secrets/postgres_password}"`
CREATE ROLE milvaion LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE milvaion OWNER milvaion;
REVOKE CONNECT ON DATABASE milvaion FROM PUBLIC;
SQL
