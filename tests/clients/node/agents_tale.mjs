// @openai/agents-realtime tells a tale; the provider is named in the URL, and a story cut by a voice.
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';
import { API_KEY, ASK_STORY, ASK_TOOL, BRIEF, FRENCH, GATEWAY_URL, Inbox, LAST, MODEL, NAME, PROVIDER, SAID, pieces, report } from './common.mjs';
import { called, weather } from './weather.mjs';

const agent = (instructions) => new RealtimeAgent({ name: 'Weather', instructions, tools: [weather] });
const session = new RealtimeSession(agent(BRIEF), { transport: 'websocket', model: MODEL });
const inbox = new Inbox();
session.on('error', ({ error }) => inbox.push(new Error(JSON.stringify(error))));
session.on('transport_event', (event) => inbox.push(event));
session.on('audio', (event) => inbox.push({ type: 'heard', data: Buffer.from(event.data) }));
session.on('audio_interrupted', () => inbox.push({ type: 'interrupted' }));

const heard = [];
const answers = [];
const until = (type, onEach) => inbox.until((event) => event.type === type, onEach);
const response = async () => {
  const done = await until('response.done', (event) => {
    if (!answers.length && event.type === 'heard') heard.push(event.data);
  });
  return done.response;
};
const keep = async () => answers.push((await response()).output[0].content[0].transcript);
const say = (pcm) => {
  for (const piece of pieces(pcm)) {
    session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length));
  }
};
const spoken = Buffer.concat([SAID, Buffer.alloc(48_000)]);

const query = PROVIDER && `&rs_core=${PROVIDER.toUpperCase()}`;
await session.connect({ apiKey: API_KEY, url: `${GATEWAY_URL}/v1/realtime?model=${MODEL}${query}` });
say(spoken);
await keep();
session.sendMessage(NAME);
await keep();
session.sendMessage(ASK_TOOL);
await response(); // the call
await keep();
await session.updateAgent(agent(FRENCH));
session.sendMessage(ASK_STORY);
await until('heard');
say(spoken);
await until('interrupted');
const { status } = await response();
await response(); // to the voice that interrupted
session.sendMessage(LAST);
await keep();

session.close();
report({ heard, tool: called[0], interrupted: status, answers });
