#!/bin/sh
# A producer without any SDK: the `nats` command line (https://github.com/nats-io/natscli).
#
#   examples/nats_pub.sh chat-42 "Hello" " from" " a shell"
#
# A message without headers is data and opens a run by itself. Such a run has no lease: end it, or the gateway's idle
# limit (10 minutes) does. `--no-templates`: what a model says in double braces is text.
set -eu
session=$1
shift
server=${HOLDFAST_NATS_URL:-nats://127.0.0.1:4222}
subject=$(holdfast subject "$session" --nats "$server")

for text in "$@"; do
    nats --server "$server" pub -q --no-templates "$subject" "$text"
done
nats --server "$server" pub -q -H Holdfast-Kind:end "$subject" ""
