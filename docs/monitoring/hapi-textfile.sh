#!/bin/sh
# Writes the figures of a runner where the textfile collector of node_exporter finds them.
# Run it as the user of the runner, for example once a minute by cron. Arguments: directory.
set -eu
directory=$1
curl --silent --fail --max-time 10 --unix-socket "${HAPI_HOME:-$HOME/.hapi}/runner.sock" \
    http://runner/metrics | grep -v -E '^(# (HELP|TYPE) )?process_' > "$directory/hapi-runner.prom.new"
mv "$directory/hapi-runner.prom.new" "$directory/hapi-runner.prom"
