#!/usr/bin/env bash
# Proves a running compose cluster: an account, a key, a session through haproxy, and the charge.
# Run it beside docker-compose.yml once `docker compose up -d --wait` has returned.
set -euo pipefail
ctl() { docker compose exec -T accountd accountctl "$@"; }

account="check-$RANDOM$RANDOM"
ctl account create --email "$account@example.org" --id "$account" --tokens 1000 --topup 10 --json
key=$(ctl key create "$account" --label check --json | sed -E 's/.*"key": "([^"]*)".*/\1/')

# The client runs in the image, on the cluster's network, and goes through haproxy.
docker compose exec -T -e KEY="$key" gateway python - <<'PY'
import asyncio, json, os
from websockets.asyncio.client import connect

async def main():
    uri = "ws://haproxy:8080/v1/realtime?model=gpt-realtime&pace=0"
    headers = {"Authorization": f"Bearer {os.environ['KEY']}"}
    async with connect(uri, additional_headers=headers, max_size=None) as socket:
        await socket.send(json.dumps({"type": "response.create"}))
        while (event := json.loads(await socket.recv()))["type"] != "response.done":
            assert event["type"] != "error", event
        print("response:", event["response"]["usage"]["total_tokens"], "tokens")

asyncio.run(main())
PY

for _ in $(seq 50); do
    ctl usage "$account" --json | grep -q '"responses": 1' && break
    sleep 0.2
done
ctl usage "$account"
ctl account show "$account"
ctl audit
docker compose ps

# The image holds nothing of the machine that built it, and the spool is the gateways' own.
found=$(docker compose exec -T -u 0 gateway find / -xdev -not -path '/proc/*' \
    \( -name db.key -o -name cluster.env -o -name '*.jsonl' -o -name '*.db' -o -name compose_check.sh \))
if [ -n "$found" ]; then echo "in the image: $found" >&2; exit 1; fi
docker compose exec -T gateway sh -c 'touch "$GATEWAY_SPOOL_DIR/check" && rm "$GATEWAY_SPOOL_DIR/check"'
mode=$(docker compose exec -T gateway stat -c '%U %a' /var/spool/rts)
if [ "$mode" != "rts 700" ]; then echo "the spool belongs to $mode" >&2; exit 1; fi

if docker compose logs 2>&1 | grep -F "$key"; then echo "a key stands in a log" >&2; exit 1; fi
