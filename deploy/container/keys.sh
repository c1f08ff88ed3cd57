#!/bin/sh
# keys DIR NODE[=SOURCES]...: makes the keys of a pipeline, for each of its nodes what that one needs only.
# DIR/combiner/pipeline gets the combiner's, DIR/NODE/pipeline those of NODE, whose key may send SOURCES (left,right) only,
# none with nothing after the "=", and any without "=". Where there are keys it makes none. The combiner's come last:
# where they are, all are, and what an interrupted start has left is made anew. A NODE that is called monitor gets a token
# for its page, too.
# SERVER=DIR: the combiner's own key is the one that was made in DIR, so that it can accept the nodes of both.
set -eu
umask 077
server=${SERVER:+$(cd "$SERVER" && pwd)}
mkdir -p "$1"
cd "$1"
shift
test ! -e combiner/pipeline || exit 0
rm -rf ./*/pipeline ./*/new
made=$(mktemp --directory --tmpdir=/dev/shm)
trap 'rm -rf "$made"' EXIT

for rule; do
  node=${rule%%=*}
  said=$(framepair keygen "$made/$node" 2>&1) || { echo "$said" >&2; exit 1; }
  test -e "$made/server.key" || cp "$made/$node/server.key" "$made/$node/server.key_secret" "$made"
done
if test "$server"; then
  cp "$server/combiner/pipeline/server.key_secret" "$server/${1%%=*}/pipeline/server.key" "$made"
fi

clients=combiner/new/clients
mkdir -p $clients
cp "$made/server.key_secret" combiner/new/
for rule; do
  node=${rule%%=*}
  mkdir -p "$node/new"
  cp "$made/server.key" "$made/$node/client.key_secret" "$node/new/"
  case $rule in
    *=*) sed "s/^metadata/metadata\n    sources = \"${rule#*=}\"/" "$made/$node/client.key" ;;
    *) cat "$made/$node/client.key" ;;
  esac > "$clients/$node.key"
done
if test -e monitor/new; then
  token=$(od -An -N32 -tx1 /dev/urandom | tr -d " \n")
  echo "$token" > monitor/new/token
  echo "http://127.0.0.1:${MONITOR_PORT:-7480}/?token=$token" > monitor/new/page
fi
for rule; do mv "${rule%%=*}/new" "${rule%%=*}/pipeline"; done
mv combiner/new combiner/pipeline
