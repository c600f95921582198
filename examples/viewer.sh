#!/bin/sh
# A viewer without any library: curl, live, resuming where it was. Prints the answer's text.
#
#   examples/viewer.sh chat-42
#
# An event's id is a cursor; sent back as Last-Event-ID, the stream goes on behind it. 204 means that the run is over
# and everything was read.
set -eu
url=${HOLDFAST_GATEWAY_URL:-http://127.0.0.1:8080}/v1/sessions/$1/events
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: >"$work/id"
silent=0

while :; do
    id=$(cat "$work/id")
    { curl -sN -w '\nstatus: %{http_code}\n' ${id:+-H "Last-Event-ID: $id"} "$url" || true; } | awk -v work="$work" '
        { sub(/\r$/, "") }
        /^status: / { print substr($0, 9) >(work "/status"); next }
        /^id:/ { id = $0; sub(/^id: ?/, "", id); next }
        /^event:/ { event = $0; sub(/^event: ?/, "", event); next }
        /^data:/ { line = $0; sub(/^data: ?/, "", line); data = lines++ ? data "\n" line : line; next }
        /^$/ {
            if (lines && (event == "" || event == "message")) { printf "%s", data; fflush() }
            if (id != "") last = id
            event = ""; data = ""; lines = 0
        }
        END { if (last != "") print last >(work "/id") }
    '
    case $(cat "$work/status") in
    204) exit 0 ;;
    200) silent=0 ;;
    000) # no answer: the gateway is away, perhaps for a restart
        silent=$((silent + 1))
        [ "$silent" -le 20 ] || { echo "no gateway answers at $url" >&2; exit 1; }
        sleep 0.5
        ;;
    *) echo "the gateway answered $(cat "$work/status")" >&2; exit 1 ;;
    esac
done
