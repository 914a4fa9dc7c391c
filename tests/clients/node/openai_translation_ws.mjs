// openai-node's connection for translations; it always speaks wss.
import OpenAI from 'openai';
import { OpenAIRealtimeTranslationWS } from 'openai/realtime/translations/ws';
import { API_KEY, GATEWAY_URL_TLS, Inbox, MODEL, SAID, pieces, report } from './common.mjs';

const baseURL = `${GATEWAY_URL_TLS.replace('wss', 'https')}/v1`;
const client = new OpenAI({ apiKey: API_KEY, baseURL });
const translation = await OpenAIRealtimeTranslationWS.create(client, { model: MODEL });
const inbox = new Inbox();
translation.on('event', (event) => inbox.push(event));
translation.on('error', (error) => inbox.push(error));

const heard = [];
let words = '';

await inbox.until((event) => event.type === 'session.created');
for (const piece of pieces(SAID)) {
  translation.send({ type: 'session.input_audio_buffer.append', audio: piece.toString('base64') });
}
translation.session.close();
await inbox.until(
  (event) => event.type === 'session.closed',
  (event) => {
    if (event.type === 'session.output_audio.delta') heard.push(Buffer.from(event.delta, 'base64'));
    if (event.type === 'session.output_transcript.delta') words += event.delta;
  },
);
report({ heard, words });
