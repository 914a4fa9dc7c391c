// @google/genai asks each line of its input, and prints the answer and what else it heard, as JSON.
import { createInterface } from 'node:readline';
import { GoogleGenAI, Modality } from '@google/genai';
import { API_KEY, BRIEF, GATEWAY_URL, Inbox, MODEL } from './common.mjs';

const ai = new GoogleGenAI({ apiKey: API_KEY, httpOptions: { baseUrl: GATEWAY_URL.replace('ws', 'http') } });
const inbox = new Inbox();
const session = await ai.live.connect({
  model: MODEL,
  config: {
    systemInstruction: BRIEF,
    responseModalities: [Modality.AUDIO],
    outputAudioTranscription: {},
    sessionResumption: {},
  },
  callbacks: {
    onmessage: (message) => inbox.push(message),
    onerror: (event) => inbox.push(new Error(event.message)),
    onclose: (event) => inbox.push(new Error(`closed: ${event.code} ${event.reason}`)),
  },
});

for await (const text of createInterface({ input: process.stdin })) {
  const heard = [];
  let words = '';
  let audio = 0;
  session.sendClientContent({ turns: [{ role: 'user', parts: [{ text }] }], turnComplete: true });
  await inbox.until(
    (message) => message.serverContent?.turnComplete === true,
    (message) => {
      heard.push(...Object.keys(message).filter((name) => message[name] !== undefined));
      words += message.serverContent?.outputTranscription?.text ?? '';
      audio += Buffer.from(message.data ?? '', 'base64').length;
    },
  );
  console.log(JSON.stringify({ words, audio, heard }));
}
session.close();
