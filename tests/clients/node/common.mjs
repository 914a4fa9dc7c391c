// What every program here shares: the environment, the audio, and how an outcome is reported.
import { Buffer } from 'node:buffer';

export const { GATEWAY_URL, GATEWAY_URL_TLS, API_KEY, MODEL, PROVIDER } = process.env;
export const TOOL = 'get_weather';
export const ASK_TOOL = `Call ${TOOL} for Paris, please.`;
export const ASK_STORY = 'Tell me a long story.';
// The words of a tale: those of tale.py.
export const BRIEF = 'Be brief.';
export const FRENCH = 'Answer in French.';
export const NAME = 'My name is Ada.';
export const LAST = 'What do you know of me?';
export const PARAMETERS = { type: 'object', properties: { question: { type: 'string' } } };
export const SAID = Buffer.from(process.env.SAID, 'base64');

const PIECE_BYTES = 960; // 20 ms

export function pieces(pcm) {
  const found = [];
  for (let at = 0; at < pcm.length; at += PIECE_BYTES) found.push(pcm.subarray(at, at + PIECE_BYTES));
  return found;
}

export function report({ heard = [], tool = '', interrupted = '', words = '', answers = [] }) {
  const audio = Buffer.concat(heard).toString('base64');
  console.log(JSON.stringify({ heard: audio, tool, interrupted, words, answers }));
}

// Events as they come, to be awaited one after the other.
export class Inbox {
  #events = [];
  #wake = () => {};

  push(event) {
    this.#events.push(event);
    this.#wake();
  }

  async until(isIt, onEach = () => {}) {
    for (;;) {
      while (this.#events.length) {
        const event = this.#events.shift();
        if (event instanceof Error) throw event;
        onEach(event);
        if (isIt(event)) return event;
      }
      await new Promise((resolve) => (this.#wake = resolve));
    }
  }
}
