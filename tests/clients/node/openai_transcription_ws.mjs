// openai-node with an intent in place of a model.
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { API_KEY, GATEWAY_URL_TLS, Inbox, MODEL, SAID, pieces, report } from './common.mjs';

const baseURL = `${GATEWAY_URL_TLS.replace('wss', 'https')}/v1`;
const client = new OpenAI({ apiKey: API_KEY, baseURL });
const realtime = new OpenAIRealtimeWS({ intent: 'transcription' }, client);
const inbox = new Inbox();
realtime.on('event', (event) => inbox.push(event));
realtime.on('error', (error) => inbox.push(error));

const transcription = 'conversation.item.input_audio_transcription';
let words = '';

await inbox.until((event) => event.type === 'session.created');
realtime.send({
  type: 'session.update',
  session: {
    type: 'transcription',
    audio: { input: { transcription: { model: MODEL }, turn_detection: null } },
  },
});
for (const piece of pieces(SAID)) {
  realtime.send({ type: 'input_audio_buffer.append', audio: piece.toString('base64') });
}
realtime.send({ type: 'input_audio_buffer.commit' });
await inbox.until(
  (event) => event.type === `${transcription}.completed`,
  (event) => {
    if (event.type === `${transcription}.delta`) words += event.delta;
  },
);
realtime.close();
report({ words });
