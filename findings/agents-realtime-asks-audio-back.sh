#!/usr/bin/env bash
# What: a turn of speech in a session of @openai/agents-realtime over WebSocket: ten seconds that a user says, and the
#   transcript that the server sends for them.
# Guess: the transcript comes in an event, and from there into session.history. The SDK sends nothing for it.
# Seen (@openai/agents-realtime 0.20.0, ws 8.23.0, Node 20): the transcript is in the history as soon as the event is. All the
#   same the SDK then asks for the item (conversation.item.retrieve), after each turn of the user and each interruption. By
#   OpenAI's reference the answer has the item's audio: 640 kB of base64 for ten seconds at 24 kHz. The SDK keeps
#   none of it (historyStoreAudio is false); the history is the same before and after.
# Why it matters: whatever is said is downloaded again by who said it, which is more than was sent up where that was G.711. A
#   proxy that limits the size of messages, or answers retrieves from a store of its own, sees one for each turn.
set -euo pipefail
command -v npm > /dev/null || { echo "skipped: needs Node and npm"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --prefix "$dir" @openai/agents-realtime@0.20.0 ws@8.23.0 zod@4.6.7 > /dev/null
cat > run.mjs <<'JS'
import fs from 'node:fs';
import { once } from 'node:events';
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { WebSocketServer } from 'ws';

const version = (name) => JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`)).version;
const audio = Buffer.alloc(10 * 48_000).toString('base64');
const item = (content) => ({ id: 'item_1', type: 'message', role: 'user', status: 'completed', content: [content] });

console.log('@openai/agents-realtime', version('@openai/agents-realtime'), 'ws', version('ws'), 'Node', process.versions.node);
const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
await once(server, 'listening');
const session = new RealtimeSession(new RealtimeAgent({ name: 'Greeter' }), { transport: 'websocket', model: 'm' });
const connecting = session.connect({ url: `ws://127.0.0.1:${server.address().port}/`, apiKey: 'none' });
const [socket] = await once(server, 'connection');
const heard = [];
socket.on('message', (data) => heard.push(JSON.parse(data)));
let count = 0;
const say = async (type, fields) => {
  socket.send(JSON.stringify({ type, event_id: `event_${(count += 1)}`, ...fields }));
  await new Promise((resolve) => setTimeout(resolve, 200));
};
await say('session.created', { session: { type: 'realtime', model: 'm' } });
await connecting;
heard.length = 0;
await say('conversation.item.added', { previous_item_id: null, item: item({ type: 'input_audio', transcript: null }) });
await say('conversation.item.done', { previous_item_id: null, item: item({ type: 'input_audio', transcript: null }) });
const before = heard.map(({ type }) => type);
await say('conversation.item.input_audio_transcription.completed', {
  item_id: 'item_1', content_index: 0, transcript: 'Hello!', usage: { type: 'duration', seconds: 10 },
});
const asked = heard.map(({ type }) => type).slice(before.length);
const told = session.history.map(({ content }) => content[0]);
await say('conversation.item.retrieved', { item: item({ type: 'input_audio', transcript: 'Hello!', audio }) });
const later = session.history.map(({ content }) => content[0]);
heard.length = 0;
await say('conversation.item.truncated', { item_id: 'item_2', content_index: 0, audio_end_ms: 100 });
const cut = heard.map(({ type }) => type);

console.log(`  until the transcript the SDK sends ${JSON.stringify(before)}, after it ${JSON.stringify(asked)}`);
console.log(`  the history says ${JSON.stringify(told)} before the answer, which has ${audio.length} characters of audio,`);
console.log(`  and ${JSON.stringify(later)} after it`);
console.log(`  after an answer that was cut the SDK sends ${JSON.stringify(cut)}`);
const same = before.length === 0 && asked.join() === 'conversation.item.retrieve' && cut.join() === asked.join() && told[0].transcript === 'Hello!'
  && later[0].transcript === 'Hello!' && later[0].audio === null;
if (!same) console.log('CHANGED: expected one retrieve each, a history that has the transcript before it, and no audio after it');
process.exit(same ? 0 : 1);
JS
node run.mjs
