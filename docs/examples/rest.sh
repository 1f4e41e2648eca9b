#!/bin/sh
# Start a session of the demo agent, ask for something, allow it, read the answer, archive the session.
# Usage: sh rest.sh http://127.0.0.1:3006 DIRECTORY, with the access token in CLI_API_TOKEN
set -eu
hub=$1 directory=$2

ask() { # METHOD PATH [BODY]; the web token goes in by standard input, where no process list shows it
    printf 'header = "Authorization: Bearer %s"\n' "$web_token" |
        curl -sSf -K - -X "$1" "$hub$2" -H "Content-Type: application/json" ${3:+-d "$3"} -w "\n"
}

pick() { # a part of the JSON on standard input, by names and places
    python3 -c 'import json, sys
answer = found = json.load(sys.stdin)
try:
    for key in sys.argv[1:]:
        found = list(found)[int(key)] if key.isdigit() else found[key]
except LookupError:
    sys.exit("there is no %s in %s" % (" ".join(sys.argv[1:]), answer))
print(found)' "$@"
}

web_token=$(printf '{"accessToken": "%s"}' "$CLI_API_TOKEN" |
    curl -sSf "$hub/api/auth" -H "Content-Type: application/json" -d @- | pick token)
machine=$(ask GET /api/machines | pick machines 0 id)
session=$(ask POST "/api/machines/$machine/spawn" "{\"directory\": \"$directory\", \"agent\": \"demo\"}" | pick sessionId)
ask POST "/api/sessions/$session/messages" '{"text": "run: echo done", "localId": "first"}'
until request=$(ask GET "/api/sessions/$session" | pick session agentState requests 0 2>/dev/null); do sleep 0.2; done
ask POST "/api/sessions/$session/permissions/$request/approve" '{"decision": "approved"}'
until ask GET "/api/sessions/$session/messages?limit=20" | grep -o "[^\"]*ended with 0[^\"]*"; do sleep 0.2; done
ask POST "/api/sessions/$session/archive"
