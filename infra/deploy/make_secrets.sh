#!/bin/sh
# Makes what compose.yaml names under `secrets:`: a password for each user of a server, the addresses that hold them,
# and the API's token. A secret that is there already stays; delete it to have a new one. Needs nothing but a shell.
#
#   sh infra/deploy/make_secrets.sh [folder]           default: .secrets, which git ignores
#
# Compose mounts these files as they are, and the programs in the containers are other users than you. So the files can
# be read by everyone, and the folder, through which nobody else gets to them, by you only.
set -eu
umask 077

folder="${1:-${MILVAION_SECRETS_DIR:-.secrets}}"
mkdir -p "$folder"
chmod 700 "$folder"

# 32 bytes from the system, as text that needs no escaping in an address.
random() {
  od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'
}

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1
}

# keep NAME: writes standard input to the file of this name.
keep() {
  cat >"$folder/$1.new"
  chmod 444 "$folder/$1.new"
  mv -f "$folder/$1.new" "$folder/$1"
}

for name in api_token postgres_admin_password postgres_password postgres_worker_password redis_password \
  rabbitmq_password; do
  if [ ! -s "$folder/$name" ]; then
    random | keep "$name"
    echo "made $folder/$name"
  fi
done

# What is made of them is written each time, so that it always fits.
read_secret() {
  cat "$folder/$1"
}

printf 'postgres://milvaion:%s@postgres:5432/milvaion\n' "$(read_secret postgres_password)" | keep database_url
printf 'postgres://milvaion_worker:%s@postgres:5432/milvaion\n' "$(read_secret postgres_worker_password)" |
  keep worker_database_url
printf 'redis://milvaion:%s@redis:6379/0\n' "$(read_secret redis_password)" | keep redis_url
printf 'amqp://milvaion:%s@rabbitmq:5672/milvaion\n' "$(read_secret rabbitmq_password)" | keep amqp_url

# Redis is told the hash only. The program reaches its own keys and channels, and no command that could hurt others;
# who shows no password may ping.
{
  echo 'user default on nopass resetkeys resetchannels -@all +ping'
  printf 'user milvaion on #%s resetkeys ~Milvaion:* resetchannels &Milvaion:* +@all -@admin -@dangerous %s\n' \
    "$(read_secret redis_password | sha256)" '+info +config|get'
} | keep redis_acl

# RabbitMQ: the first user of a new broker, in place of guest. It may do everything in its own virtual host, and has no
# tag that would let it administer the broker.
{
  echo 'default_vhost = milvaion'
  echo 'default_user = milvaion'
  printf 'default_pass = %s\n' "$(read_secret rabbitmq_password)"
  echo 'default_user_tags.administrator = false'
} | keep rabbitmq_user

echo "$folder is complete"
