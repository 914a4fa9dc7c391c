#!/usr/bin/env bash
# What: the OpenAIRealtimeWS of openai-node, when the server closes with 1011 or 1013, or the connection is cut.
# Guess: the object emits `error`, or `close`, as openai-python raises ConnectionClosedError for all three.
# Seen (openai 7.59.0, ws 8.23.0, Node 20): it emits nothing at all: neither its `error` (which it does emit
#   for a refused handshake) nor `close`. Only `socket`, the WebSocket of the library below it, does.
# Why it matters: an application that listens to the SDK's own object waits for an answer that never comes. An
#   `error` event that the server sends before it closes is the one way to reach it.
set -euo pipefail
command -v npm > /dev/null || { echo "skipped: needs Node and npm"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix "$dir" openai@7.59.0 ws@8.23.0 > /dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem \
    -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2> /dev/null
cat > run.mjs <<'JS'
import fs from 'node:fs';
import https from 'node:https';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { WebSocketServer } from 'ws';

const version = (name) => JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`)).version;
const told = { type: 'error', event_id: 'event_1', error: { type: 'server_error', message: 'the provider is gone' } };

// What the SDK's object emits, and what the socket below it does, until nothing more can come.
async function heard(end, events = []) {
  const server = https.createServer({ key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem') });
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, tcp, head) => {
    if (end === 503) return tcp.end('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    sockets.handleUpgrade(request, tcp, head, (socket) => {
      for (const event of events) socket.send(JSON.stringify(event));
      setTimeout(() => (end === 'cut' ? tcp.destroy() : socket.close(end, 'the reason')), 100);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new OpenAI({ apiKey: 'none', baseURL: `https://127.0.0.1:${server.address().port}/v1` });
  const realtime = new OpenAIRealtimeWS({ model: 'm' }, client);
  const sdk = [];
  realtime.on('error', (error) => sdk.push(`error: ${error.message.split(' code=')[0].trim()}`));
  realtime.on('close', () => sdk.push('close'));
  const below = await new Promise((resolve) => realtime.socket.on('close', (code) => resolve(code)));
  await new Promise((resolve) => setTimeout(resolve, 500));
  server.closeAllConnections();
  server.close();
  return { sdk, below };
}

console.log('openai', version('openai'), 'ws', version('ws'), 'Node', process.versions.node);
const cases = [
  ['closed with 1011', await heard(1011), [], 1011],
  ['closed with 1013', await heard(1013), [], 1013],
  ['cut', await heard('cut'), [], 1006],
  ['handshake answered with 503', await heard(503), ['error: Unexpected server response: 503'], 1006],
  ['an error event, then 1011', await heard(1011, [told]), ['error: the provider is gone'], 1011],
];
let same = true;
for (const [name, { sdk, below }, expected, code] of cases) {
  console.log(`  ${name}: OpenAIRealtimeWS emits ${JSON.stringify(sdk)}; its socket closes with ${below}`);
  same &&= JSON.stringify(sdk) === JSON.stringify(expected) && below === code;
}
if (!same) console.log('CHANGED: expected that no close is told, and the two errors are');
process.exit(same ? 0 : 1);
JS
NODE_EXTRA_CA_CERTS=cert.pem node run.mjs
