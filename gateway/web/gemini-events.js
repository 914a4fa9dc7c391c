// What Gemini Live says, as the page's events (they are listed in openai-events.js). Pure, but for
// the number of the turn: Gemini's messages name no items.
import { decodePcm } from './base64.js';
import { credit } from './openai-events.js';

export class GeminiReader {
  #model;
  #turn = 1;
  #hasHeard = false;
  #hasStarted = false;
  #wasInterrupted = false;

  constructor(model) {
    this.#model = model;
  }

  // The page's events in one message, which is a parsed JSON object with one or more known fields.
  read(message) {
    const events = [];
    if (message.type === 'rts.credit') events.push(...credit(message));
    if (message.setupComplete) events.push({ kind: 'ready', model: this.#model });
    if (message.serverContent) events.push(...this.#content(message.serverContent));
    for (const call of message.toolCall?.functionCalls ?? []) events.push(this.#toolCall(call));
    if (message.usageMetadata) events.push(this.#usage(message.usageMetadata));
    if (message.serverContent?.turnComplete) events.push(this.#complete());
    if (message.goAway) events.push({ kind: 'leaving', after: message.goAway.timeLeft ?? 'soon' });
    return events;
  }

  get #user() {
    return `user-${this.#turn}`;
  }

  get #reply() {
    return `reply-${this.#turn}`;
  }

  #content(said) {
    const { modelTurn, inputTranscription, outputTranscription, interrupted } = said;
    const events = [];
    if (inputTranscription?.text) {
      this.#hasHeard = true;
      const heard = { kind: 'user-text', id: this.#user, delta: inputTranscription.text };
      // OpenAI, behind the gateway, transcribes while it answers.
      events.push(this.#hasStarted ? { ...heard, isFinal: true, before: this.#reply } : heard);
    }
    if (interrupted) {
      this.#wasInterrupted = true;
      events.push({ kind: 'speech-started' });
    }
    if (outputTranscription?.text) events.push(...this.#say(outputTranscription.text));
    for (const part of modelTurn?.parts ?? []) events.push(...this.#part(part));
    if (said.generationComplete) events.push({ kind: 'audio-done' });
    return events;
  }

  #part({ text, thought, inlineData }) {
    if (inlineData?.mimeType?.startsWith('audio/')) {
      const samples = decodePcm(inlineData.data);
      return [...this.#start(), { kind: 'audio', id: this.#reply, response: this.#turn, samples }];
    }
    // What the model thinks is not what it says.
    return text && !thought ? this.#say(text) : [];
  }

  #say(delta) {
    return [...this.#start(), { kind: 'reply-text', id: this.#reply, delta }];
  }

  #start() {
    if (this.#hasStarted) return [];
    this.#hasStarted = true;
    // Nothing says that the user's words are all there; the answer to them does.
    const heard = this.#hasHeard ? [{ kind: 'user-text', id: this.#user, isFinal: true }] : [];
    return [
      ...heard, { kind: 'response-started', response: this.#turn },
      { kind: 'reply-started', id: this.#reply },
    ];
  }

  #toolCall({ id, name, args }) {
    const text = JSON.stringify(args ?? {});
    return { kind: 'tool-call', id: `call-${id}`, callId: id, name, arguments: text };
  }

  // A turn's usage; the provider's total leaves out what it thought.
  #usage(told) {
    const input = (told.promptTokenCount ?? 0) + (told.toolUsePromptTokenCount ?? 0);
    const said = told.responseTokenCount ?? told.candidatesTokenCount ?? 0;
    const output = said + (told.thoughtsTokenCount ?? 0);
    return { kind: 'usage', id: this.#reply, input, output, total: input + output };
  }

  #complete() {
    const status = this.#wasInterrupted ? 'cancelled' : 'completed';
    const done = { kind: 'reply-done', ids: [this.#reply], status, reason: null };
    this.#turn += 1;
    this.#hasHeard = this.#hasStarted = this.#wasInterrupted = false;
    return done;
  }
}
