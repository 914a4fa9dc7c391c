// How each style of client speaks: where it connects, and what it sends. Pure.
//
// Every dialect answers with lists of messages, JSON objects, that are sent in that order.
import { encodePcm } from './base64.js';
import { GeminiReader } from './gemini-events.js';
import { readOpenAi } from './openai-events.js';

export const OPEN = 'open'; // the provider hears when a turn ends
export const PUSH = 'push'; // the user says so

const INSTRUCTIONS = 'You are a friendly voice. Answer briefly.';
const TRANSCRIBER = 'gpt-4o-mini-transcribe';
const TOOL = 'local_time';
const TOOL_SAYS = 'Tells the time where the user is.';
const NO_PARAMETERS = { type: 'object', properties: {} };
const TOOLS = [
  { type: 'function', name: TOOL, description: TOOL_SAYS, parameters: NO_PARAMETERS },
];
const AZURE_VERSION = '2025-04-01-preview';
const GEMINI_PATH = '/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent';

// Calls of the one tool that the page offers; `now` is a Date.
export function toolAnswer(name, now) {
  return name === TOOL ? { time: now.toLocaleTimeString() } : { error: `no tool is called ${name}` };
}

function turnDetection(mode) {
  return mode === OPEN ? { type: 'server_vad', silence_duration_ms: 500 } : null;
}

// What OpenAI's two dialects share.
const FAMILY = {
  rateHz: 24_000,
  models: { openai: 'gpt-realtime', xai: 'grok-voice-latest', azure: 'gpt-realtime' },
  canRetune: true,
  goesOnAlone: false,
  protocols: (key) => ['realtime', `openai-insecure-api-key.${key}`],
  makeReader: () => readOpenAi,
  opening(mode) {
    return this.tune(mode);
  },
  audio: (samples) => [{ type: 'input_audio_buffer.append', audio: encodePcm(samples) }],
  beginTurn: () => [{ type: 'input_audio_buffer.clear' }],
  endTurn: () => [{ type: 'input_audio_buffer.commit' }],
  dropTurn: () => [{ type: 'input_audio_buffer.clear' }],
  cancel: () => [{ type: 'response.cancel' }],
  truncate: (id, playedMs) => [{
    type: 'conversation.item.truncate', item_id: id, content_index: 0, audio_end_ms: playedMs,
  }],
  text: (...texts) => [
    ...texts.map((text) => ({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    })),
    { type: 'response.create' },
  ],
  toolOutput: ({ callId }, output) => [{
    type: 'conversation.item.create',
    item: { type: 'function_call_output', call_id: callId, output: JSON.stringify(output) },
  }],
  respond: () => [{ type: 'response.create' }],
};

const OPENAI = {
  ...FAMILY,
  label: 'OpenAI Realtime',
  model: 'gpt-realtime',
  path: (model) => `/v1/realtime?model=${encodeURIComponent(model)}`,
  tune: (mode) => [{
    type: 'session.update',
    session: {
      type: 'realtime', instructions: INSTRUCTIONS, output_modalities: ['audio'], tools: TOOLS,
      audio: {
        input: {
          format: { type: 'audio/pcm', rate: 24_000 },
          transcription: { model: TRANSCRIBER }, turn_detection: turnDetection(mode),
        },
        output: { format: { type: 'audio/pcm', rate: 24_000 } },
      },
    },
  }],
};

// The names of OpenAI's beta, which Azure's preview interface still speaks.
const BETA = {
  ...FAMILY,
  label: 'Azure OpenAI (beta names)',
  model: 'gpt-4o-realtime-preview',
  path: (model) =>
    `/openai/realtime?api-version=${AZURE_VERSION}&deployment=${encodeURIComponent(model)}`,
  tune: (mode) => [{
    type: 'session.update',
    session: {
      instructions: INSTRUCTIONS, modalities: ['text', 'audio'], tools: TOOLS,
      input_audio_format: 'pcm16', output_audio_format: 'pcm16',
      input_audio_transcription: { model: TRANSCRIBER }, turn_detection: turnDetection(mode),
    },
  }],
};

const GEMINI = {
  label: 'Gemini Live',
  model: 'gemini-live',
  models: { gemini: 'gemini-live' },
  rateHz: 16_000,
  canRetune: false, // a second setup ends the session
  goesOnAlone: true, // once its tools have answered
  path: (_model, key) => `${GEMINI_PATH}?key=${encodeURIComponent(key)}`,
  protocols: () => [],
  makeReader(model) {
    const reader = new GeminiReader(model);
    return (message) => reader.read(message);
  },
  opening: (mode, model) => [{
    setup: {
      model: `models/${model}`,
      generationConfig: { responseModalities: ['AUDIO'] },
      systemInstruction: { parts: [{ text: INSTRUCTIONS }] },
      tools: [{ functionDeclarations: [{ name: TOOL, description: TOOL_SAYS }] }],
      inputAudioTranscription: {},
      outputAudioTranscription: {},
      realtimeInputConfig: { automaticActivityDetection: { disabled: mode === PUSH } },
    },
  }],
  audio: (samples) => [{
    realtimeInput: { audio: { data: encodePcm(samples), mimeType: 'audio/pcm;rate=16000' } },
  }],
  beginTurn: () => [{ realtimeInput: { activityStart: {} } }],
  endTurn: () => [{ realtimeInput: { activityEnd: {} } }],
  // It cannot be taken back, but one that stayed open would be in the way of the next.
  dropTurn: () => [{ realtimeInput: { activityEnd: {} } }],
  // It cannot be cancelled, but a content that completes no turn interrupts it.
  cancel: () => [{ clientContent: { turnComplete: false } }],
  truncate: () => [],
  text: (...texts) => {
    const turns = texts.map((text) => ({ role: 'user', parts: [{ text }] }));
    return [{ clientContent: { turns, turnComplete: true } }];
  },
  toolOutput: ({ callId, name }, output) => [
    { toolResponse: { functionResponses: [{ id: callId, name, response: output }] } },
  ],
  respond: () => [],
};

export const DIALECTS = { openai: OPENAI, beta: BETA, gemini: GEMINI };

// The model that is asked for where the user names none. `provider` may be ''. One that speaks
// another protocol has a default of its own, which the gateway puts in the place of this name.
export function modelFor(dialect, provider) {
  return dialect.models[kindOf(provider)] ?? dialect.model;
}

// The kind that a provider is of: `azure` and `azure-eu` speak alike.
export function kindOf(provider) {
  return provider.split('-', 1)[0];
}

// The WebSocket URL of a session. `base` is ws(s)://HOST[:PORT]; with the gateway's own events.
// `provider` is the name of a provider, or '' for the one that the path and the model lead to.
export function sessionUrl(base, dialect, { model, provider, key }) {
  const chosen = provider ? `&provider=${encodeURIComponent(provider)}` : '';
  return `${base}${dialect.path(model, key)}${chosen}&rs_events=1`;
}
