#!/bin/sh
# keys DIR NODE[=SOURCES]...: makes the keys of a pipeline, for each of its nodes what that one needs only.
# DIR/combiner/pipeline gets the combiner's, DIR/NODE/pipeline those of NODE, whose key may send SOURCES (left,right) only,
# none with nothing after the "=", and any without "=". Where there are keys it makes none. The combiner's come last:
# where they are, all are, and what an interrupted start has left is made anew.
set -eu
umask 077
mkdir -p "$1"
cd "$1"
shift
test ! -e combiner/pipeline || exit 0
rm -rf ./*/pipeline ./*/new
made=$(mktemp --directory --tmpdir=/dev/shm)
trap 'rm -rf "$made"' EXIT

mkdir -p combiner/new/clients
for rule; do
  node=${rule%%=*}
  said=$(framepair keygen "$made/$node" 2>&1) || { echo "$said" >&2; exit 1; }
  test -e "$made/server" || ln -s "$node" "$made/server"
  mkdir -p "$node/new"
  cp "$made/server/server.key" "$made/$node/client.key_secret" "$node/new/"
  case $rule in
    *=*) sed "s/^metadata/metadata\n    sources = \"${rule#*=}\"/" "$made/$node/client.key" ;;
    *) cat "$made/$node/client.key" ;;
  esac > "combiner/new/clients/$node.key"
done
cp "$made/server/server.key_secret" combiner/new/
for rule; do mv "${rule%%=*}/new" "${rule%%=*}/pipeline"; done
mv combiner/new combiner/pipeline
