// What an OpenAI-style server says, as the page's own events. Pure. GA's names and the beta's.
//
// The page knows these events, whoever the provider is:
//
//   ready { model }                          the session can be used
//   speech-started, speech-stopped           of the user, as the server hears it
//   user-text { id, delta | text, isFinal }  what the user said; neither: said, not yet known what
//   response-started { response }            the model begins to answer, whatever with
//   reply-started { id }                     what it says or writes begins
//   reply-text { id, delta | text, isFinal } what the model says or writes
//   audio { id, response, samples }          16-bit, 24 kHz
//   audio-done                               no more of what it says now
//   reply-done { ids, status, reason }       completed, cancelled, incomplete or failed
//   usage { id, input, output, total }       what the provider charges for; id may be null
//   tool-call { id, callId, name, arguments }
//   credit { topup, tokens }                 what the account has left: the gateway's own event
//   leaving { after }                        the provider ends the session soon
//   error { code, message }
import { decodePcm } from './base64.js';

// Errors that come of two who speak at once, and mean nothing to the user.
const HARMLESS = new Set(['response_cancel_not_active']);

const TRANSCRIPTION = 'conversation.item.input_audio_transcription';

const READERS = {
  'session.created': ({ session }) => [{ kind: 'ready', model: session.model }],
  'input_audio_buffer.speech_started': () => [{ kind: 'speech-started' }],
  'input_audio_buffer.speech_stopped': () => [{ kind: 'speech-stopped' }],
  'input_audio_buffer.committed': ({ item_id: id }) => [{ kind: 'user-text', id }],
  [`${TRANSCRIPTION}.delta`]: ({ item_id: id, delta }) => [{ kind: 'user-text', id, delta }],
  // xAI's: everything that was understood so far.
  [`${TRANSCRIPTION}.updated`]: ({ item_id: id, transcript }) => [
    { kind: 'user-text', id, text: transcript },
  ],
  [`${TRANSCRIPTION}.completed`]: ({ item_id: id, transcript, usage }) => [
    { kind: 'user-text', id, text: transcript, isFinal: true },
    ...usageOf(usage, null),
  ],
  [`${TRANSCRIPTION}.failed`]: ({ item_id: id }) => [
    { kind: 'user-text', id, text: '(not understood)', isFinal: true },
  ],
  'response.created': ({ response }) => [{ kind: 'response-started', response: response.id }],
  'response.output_item.added': ({ item }) =>
    item.type === 'message' ? [{ kind: 'reply-started', id: item.id }] : [],
  'response.output_item.done': ({ item }) =>
    item.type === 'function_call' ? [toolCall(item)] : [],
  'response.output_audio.delta': audio,
  'response.audio.delta': audio,
  'response.output_audio.done': () => [{ kind: 'audio-done' }],
  'response.audio.done': () => [{ kind: 'audio-done' }],
  'response.output_audio_transcript.delta': textDelta,
  'response.audio_transcript.delta': textDelta,
  'response.output_text.delta': textDelta,
  'response.text.delta': textDelta,
  'response.output_audio_transcript.done': ({ item_id: id, transcript: text }) => [
    { kind: 'reply-text', id, text, isFinal: true },
  ],
  'response.audio_transcript.done': ({ item_id: id, transcript: text }) => [
    { kind: 'reply-text', id, text, isFinal: true },
  ],
  'response.output_text.done': textDone,
  'response.text.done': textDone,
  'response.done': responseDone,
  'rts.credit': credit,
  error: ({ error: { code, type, message } }) =>
    HARMLESS.has(code) ? [] : [{ kind: 'error', code: code ?? type, message }],
};

// The page's events in one message, which is a parsed JSON object; of an unknown type there are none.
export function readOpenAi(message) {
  return Object.hasOwn(READERS, message.type) ? READERS[message.type](message) : [];
}

// The gateway's own event is the same for every provider.
export function credit({ topup_remaining: topup, token_remaining: tokens }) {
  return [{ kind: 'credit', topup, tokens }];
}

function audio({ item_id: id, response_id: response, delta }) {
  return [{ kind: 'audio', id, response, samples: decodePcm(delta) }];
}

function textDelta({ item_id: id, delta }) {
  return [{ kind: 'reply-text', id, delta }];
}

function textDone({ item_id: id, text }) {
  return [{ kind: 'reply-text', id, text, isFinal: true }];
}

function toolCall({ id, call_id: callId, name, arguments: text }) {
  return { kind: 'tool-call', id, callId, name, arguments: text };
}

function responseDone({ response, usage }) {
  const details = response.status_details;
  const ids = (response.output ?? []).map((item) => item.id);
  const done = {
    kind: 'reply-done', ids, status: response.status, reason: details?.reason ?? null,
  };
  const failed = details?.error
    ? [{ kind: 'error', code: details.error.code, message: details.error.message }]
    : [];
  // xAI's usage stands beside the response, and an empty one inside.
  const told = usageOf(usage ?? response.usage, ids.at(-1) ?? null);
  return [...told, ...failed, done];
}

// Usage in tokens; one in seconds, or none, is no event.
function usageOf(usage, id) {
  if (!Number.isInteger(usage?.total_tokens)) return [];
  return [{
    kind: 'usage', id,
    input: usage.input_tokens ?? 0, output: usage.output_tokens ?? 0, total: usage.total_tokens,
  }];
}
