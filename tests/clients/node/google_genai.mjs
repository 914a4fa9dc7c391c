// @google/genai: its live session on a plain socket, its key in the URL.
import { ActivityHandling, GoogleGenAI, Modality } from '@google/genai';
import { API_KEY, ASK_STORY, ASK_TOOL, GATEWAY_URL, GATEWAY_URL_TLS, Inbox, MODEL, PARAMETERS, SAID, TOOL, pieces, report } from './common.mjs';

const url = process.argv[2] === 'tls' ? GATEWAY_URL_TLS : GATEWAY_URL;
const ai = new GoogleGenAI({ apiKey: API_KEY, httpOptions: { baseUrl: url.replace('ws', 'http') } });
const inbox = new Inbox();
const session = await ai.live.connect({
  model: MODEL,
  config: {
    responseModalities: [Modality.AUDIO],
    tools: [{ functionDeclarations: [{ name: TOOL, parametersJsonSchema: PARAMETERS }] }],
    realtimeInputConfig: {
      automaticActivityDetection: { disabled: true },
      activityHandling: ActivityHandling.START_OF_ACTIVITY_INTERRUPTS,
    },
  },
  callbacks: {
    onmessage: (message) => inbox.push(message),
    onerror: (event) => inbox.push(new Error(event.message)),
    onclose: (event) => inbox.push(new Error(`closed: ${event.code} ${event.reason}`)),
  },
});

const turnComplete = (message) => message.serverContent?.turnComplete === true;
const write = (text) =>
  session.sendClientContent({ turns: [{ role: 'user', parts: [{ text }] }], turnComplete: true });
const heard = [];
let interrupted = '';

session.sendRealtimeInput({ activityStart: {} });
for (const piece of pieces(SAID)) {
  session.sendRealtimeInput({
    audio: { data: piece.toString('base64'), mimeType: 'audio/pcm;rate=24000' },
  });
}
session.sendRealtimeInput({ activityEnd: {} });
await inbox.until(turnComplete, (message) => {
  if (message.data) heard.push(Buffer.from(message.data, 'base64'));
});

write(ASK_TOOL);
const { toolCall } = await inbox.until((message) => message.toolCall);
const [{ id, name }] = toolCall.functionCalls;
session.sendToolResponse({ functionResponses: [{ id, name, response: { celsius: 21 } }] });
await inbox.until(turnComplete);

write(ASK_STORY);
await inbox.until((message) => message.data);
session.sendRealtimeInput({ activityStart: {} });
await inbox.until(turnComplete, (message) => {
  if (message.serverContent?.interrupted) interrupted = 'interrupted';
});

session.close();
report({ heard, tool: name, interrupted });
