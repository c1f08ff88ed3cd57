#!/bin/sh
# node MODULE [ARGUMENT...] | node SCRIPT.py [ARGUMENT...]: runs a node, or a consumer of one's own, in a container.
# It waits for the node's keys, and takes the source's address from the file that FRAMEPAIR_SOURCE_FILE names.
# A node that ends with 2 cannot work as it is told to: it is not started again and again, its container stays, unhealthy.
until test -e "${FRAMEPAIR_KEYS:-/}"; do sleep 0.2; done
if test "$FRAMEPAIR_SOURCE_FILE"; then
  FRAMEPAIR_SOURCE=$(cat "$FRAMEPAIR_SOURCE_FILE") || exit
  export FRAMEPAIR_SOURCE
fi

case $1 in *.py) python "$@" & ;; *) python -m "$@" & ;; esac
node=$!
for signal in TERM INT USR1; do trap "kill -s $signal $node" $signal; done
# A signal ends the first wait; what the node's end was is known once it is no more.
while wait $node; code=$?; kill -0 $node 2>/dev/null; do :; done
if test $code = 2; then
  echo "node: $1 ended with 2; correct what it says and start the container anew" >&2
  rm -f "$FRAMEPAIR_STATUS"
  trap 'exit 2' TERM INT
  sleep infinity &
  wait
fi
exit $code
