// @openai/agents-realtime: a session whose agent detects voices and is interrupted by one.
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { API_KEY, ASK_STORY, ASK_TOOL, GATEWAY_URL, Inbox, MODEL, SAID, pieces, report } from './common.mjs';
import { called, weather } from './weather.mjs';

const agent = new RealtimeAgent({ name: 'Weather', instructions: 'Be brief.', tools: [weather] });
const session = new RealtimeSession(agent, { transport: 'websocket', model: MODEL });
const inbox = new Inbox();
session.on('error', ({ error }) => inbox.push(new Error(JSON.stringify(error))));
session.on('transport_event', (event) => inbox.push(event));
session.on('audio', (event) => inbox.push({ type: 'heard', data: Buffer.from(event.data) }));
session.on('audio_interrupted', () => inbox.push({ type: 'interrupted' }));

const until = (type, onEach) => inbox.until((event) => event.type === type, onEach);
const send = (pcm) => {
  for (const piece of pieces(pcm)) {
    session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length));
  }
};
const heard = [];

await session.connect({ apiKey: API_KEY, url: `${GATEWAY_URL}/v1/realtime?model=${MODEL}` });
send(Buffer.concat([SAID, Buffer.alloc(48_000)]));
await until('response.done', (event) => {
  if (event.type === 'heard') heard.push(event.data);
});

session.sendMessage(ASK_TOOL);
await until('response.done');
await until('response.done');

session.sendMessage(ASK_STORY);
await until('heard');
send(SAID);
await until('interrupted');
const { response } = await until('response.done');

session.close();
report({ heard, tool: called[0], interrupted: response.status });
