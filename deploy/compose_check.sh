#!/usr/bin/env bash
# Checks a running compose cluster: creates an account and a key, holds a session through haproxy,
# and checks that it was charged. Run it in the folder of docker-compose.yml, after
# `docker compose up -d --wait` has returned.
set -euo pipefail
ctl() { docker compose exec -T accountd accountctl "$@"; }

account="check-$RANDOM$RANDOM"
ctl account create --email "$account@example.org" --id "$account" --tokens 1000 --topup 10 --json
key=$(ctl key create "$account" --label check --json | sed -E 's/.*"key": "([^"]*)".*/\1/')

# The client runs in the image, on the cluster's network. It connects to haproxy without and with
# TLS; with TLS it trusts only the certificate that the cluster has made.
docker compose exec -T -e KEY="$key" -e CERT="$(cat deploy/tls/cert.pem)" gateway python - <<'PY'
import asyncio, json, os, ssl, urllib.request
from websockets.asyncio.client import connect

def ephemeral():
    """Get an ephemeral key through haproxy. Every gateway accepts it, whichever one made it."""
    uri = "http://haproxy:8080/v1/realtime/client_secrets"
    headers = {"Authorization": f"Bearer {os.environ['KEY']}"}
    with urllib.request.urlopen(urllib.request.Request(uri, b"{}", headers)) as answer:
        return json.load(answer)["value"]

async def talk(base, **options):
    uri = f"{base}/v1/realtime?model=gpt-realtime&pace=0"
    headers = {"Authorization": f"Bearer {ephemeral()}"}
    async with connect(uri, additional_headers=headers, max_size=None, **options) as socket:
        await socket.send(json.dumps({"type": "response.create"}))
        while (event := json.loads(await socket.recv()))["type"] != "response.done":
            assert event["type"] != "error", event
        print(base, "response:", event["response"]["usage"]["total_tokens"], "tokens")

async def main():
    await talk("ws://haproxy:8080")
    await talk("wss://haproxy:8443", ssl=ssl.create_default_context(cadata=os.environ["CERT"]))

asyncio.run(main())
PY

for _ in $(seq 50); do
    ctl usage "$account" --json | grep -q '"responses": 2' && break
    sleep 0.2
done
ctl usage "$account"
ctl account show "$account"
ctl audit
docker compose ps

with_page=$(docker compose exec -T gateway python -c \
    "import urllib.request as u; print(u.urlopen('http://haproxy:8080/').read().decode())")
grep -qi "<!doctype html>" <<<"$with_page" || { echo "found no page at /" >&2; exit 1; }

# The image has no files of the build machine's cluster, and the spool is private to the gateways.
found=$(docker compose exec -T -u 0 gateway find / -xdev -not -path '/proc/*' \
    \( -name db.key -o -name cluster.env -o -name '*.jsonl' -o -name '*.db' -o -name compose_check.sh \))
if [ -n "$found" ]; then echo "in the image: $found" >&2; exit 1; fi
docker compose exec -T gateway sh -c 'touch "$GATEWAY_SPOOL_DIR/check" && rm "$GATEWAY_SPOOL_DIR/check"'
mode=$(docker compose exec -T gateway stat -c '%U %a' /var/spool/rts)
if [ "$mode" != "rts 700" ]; then echo "the spool belongs to $mode" >&2; exit 1; fi

# A client on the host can use the certificate, and only haproxy's user can read its key.
python3 - <<'PY'
import ssl, urllib.request
trusting = ssl.create_default_context(cafile="deploy/tls/cert.pem")
with urllib.request.urlopen("https://localhost:8443/readyz", context=trusting) as answer:
    print("https://localhost:8443/readyz", answer.status)
PY
mode=$(stat -c '%u %a' deploy/tls/cert.pem.key)
if [ "$mode" != "10002 400" ]; then echo "the certificate's key belongs to $mode" >&2; exit 1; fi

if docker compose logs 2>&1 | grep -F "$key"; then echo "a key stands in a log" >&2; exit 1; fi
