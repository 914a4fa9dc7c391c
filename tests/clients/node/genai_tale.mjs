// @google/genai tells a tale on a plain socket; the provider is named in the path of the base URL.
// It talks all the time, at 16 kHz: voices are detected, and a story is cut by one.
import { GoogleGenAI, Modality } from '@google/genai';
import { API_KEY, ASK_STORY, ASK_TOOL, BRIEF, FRENCH, GATEWAY_URL, Inbox, LAST, MODEL, NAME, PARAMETERS, PROVIDER, SAID, TOOL, pieces, report } from './common.mjs';

const path = PROVIDER && `/provider/${PROVIDER}`;
const baseUrl = `${GATEWAY_URL.replace('ws', 'http')}${path}`;
const ai = new GoogleGenAI({ apiKey: API_KEY, httpOptions: { baseUrl } });
const inbox = new Inbox();
const session = await ai.live.connect({
  model: MODEL,
  config: {
    systemInstruction: BRIEF,
    responseModalities: [Modality.AUDIO],
    outputAudioTranscription: {},
    tools: [{ functionDeclarations: [{ name: TOOL, parametersJsonSchema: PARAMETERS }] }],
  },
  callbacks: {
    onmessage: (message) => inbox.push(message),
    onerror: (event) => inbox.push(new Error(event.message)),
    onclose: (event) => inbox.push(new Error(`closed: ${event.code} ${event.reason}`)),
  },
});

const heard = [];
const answers = [];
let called = '';
let interrupted = '';
const turnComplete = (message) => message.serverContent?.turnComplete === true;
const keep = async () => {
  let words = '';
  await inbox.until(turnComplete, (message) => {
    if (!answers.length && message.data) heard.push(Buffer.from(message.data, 'base64'));
    words += message.serverContent?.outputTranscription?.text ?? '';
    for (const { id, name } of message.toolCall?.functionCalls ?? []) {
      called = name;
      session.sendToolResponse({ functionResponses: [{ id, name, response: { celsius: 21 } }] });
    }
  });
  answers.push(words);
};
const write = (text) =>
  session.sendClientContent({ turns: [{ role: 'user', parts: [{ text }] }], turnComplete: true });

const say = () => {
  for (const piece of pieces(Buffer.concat([SAID, Buffer.alloc(32_000)]))) {
    session.sendRealtimeInput({
      audio: { data: piece.toString('base64'), mimeType: 'audio/pcm;rate=16000' },
    });
  }
};

say();
await keep();
write(NAME);
await keep();
write(ASK_TOOL);
await keep();
session.sendContextUpdate({ systemInstruction: { parts: [{ text: FRENCH }] } });
write(ASK_STORY);
await inbox.until((message) => message.data);
say();
await inbox.until(turnComplete, (message) => {
  if (message.serverContent?.interrupted) interrupted = 'interrupted';
});
await inbox.until(turnComplete); // to the voice that interrupted
write(LAST);
await keep();

session.close();
report({ heard, tool: called, interrupted, answers });
