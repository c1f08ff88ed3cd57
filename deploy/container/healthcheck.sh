#!/bin/sh
# healthcheck [--alive] [SECONDS]: exit 0 if the newest frame has passed the node of this container, or with --alive if
# its work loop has turned, within SECONDS (5). The node dates its status file so (FRAMEPAIR_STATUS).
# A shell and find, 4 ms: every container runs this every few seconds, and Python takes 70 ms to start.
date=m
if test "$1" = --alive; then date=c; shift; fi
found=$(find "${FRAMEPAIR_STATUS:?has to name the file that the node writes}" "-newer${date}t" "${1:-5} seconds ago") || exit
test "$found" && exit
stat --format "the newest frame passed at %y (1970: none has), the work loop turned at %z" "$FRAMEPAIR_STATUS"
exit 1
