// The providers' messages as the page's events: GA's names, the beta's, xAI's, Gemini's.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decodePcm, encodePcm } from '../../../../gateway/web/base64.js';
import { DIALECTS, OPEN, PUSH, modelFor, sessionUrl } from '../../../../gateway/web/dialects.js';
import { GeminiReader } from '../../../../gateway/web/gemini-events.js';
import { readOpenAi } from '../../../../gateway/web/openai-events.js';

const SAMPLES = Int16Array.of(0, 1, -1, 32767, -32768);
const AUDIO = encodePcm(SAMPLES);
const ITEM = { item_id: 'item_1', content_index: 0 };

test('samples survive base64, little-endian', () => {
  assert.equal(encodePcm(Int16Array.of(0x0102)), btoa('\x02\x01'));
  const long = Int16Array.from({ length: 50_000 }, (_, n) => n);
  assert.deepEqual(decodePcm(encodePcm(long)), long);
});

for (const type of ['response.output_audio.delta', 'response.audio.delta']) {
  test(`${type} is audio`, () => {
    assert.deepEqual(readOpenAi({ type, ...ITEM, response_id: 'resp_1', delta: AUDIO }),
      [{ kind: 'audio', id: 'item_1', response: 'resp_1', samples: SAMPLES }]);
    assert.deepEqual(readOpenAi({ type: type.replace('delta', 'done'), ...ITEM }),
      [{ kind: 'audio-done' }]);
  });
}

test('a response that begins has its name', () => {
  assert.deepEqual(readOpenAi({ type: 'response.created', response: { id: 'resp_1' } }),
    [{ kind: 'response-started', response: 'resp_1' }]);
});

for (const name of ['output_audio_transcript', 'audio_transcript']) {
  test(`response.${name} is what the model says`, () => {
    assert.deepEqual(readOpenAi({ type: `response.${name}.delta`, ...ITEM, delta: ' you' }),
      [{ kind: 'reply-text', id: 'item_1', delta: ' you' }]);
    assert.deepEqual(readOpenAi({ type: `response.${name}.done`, ...ITEM, transcript: 'Hi you' }),
      [{ kind: 'reply-text', id: 'item_1', text: 'Hi you', isFinal: true }]);
  });
}

for (const name of ['output_text', 'text']) {
  test(`response.${name} is what the model writes`, () => {
    assert.deepEqual(readOpenAi({ type: `response.${name}.delta`, ...ITEM, delta: 'a' }),
      [{ kind: 'reply-text', id: 'item_1', delta: 'a' }]);
    assert.deepEqual(readOpenAi({ type: `response.${name}.done`, ...ITEM, text: 'ab' }),
      [{ kind: 'reply-text', id: 'item_1', text: 'ab', isFinal: true }]);
  });
}

test('what the user said comes in pieces, whole so far, or at last', () => {
  const type = 'conversation.item.input_audio_transcription';
  assert.deepEqual(readOpenAi({ type: `${type}.delta`, ...ITEM, delta: 'He' }),
    [{ kind: 'user-text', id: 'item_1', delta: 'He' }]);
  assert.deepEqual(readOpenAi({ type: `${type}.updated`, ...ITEM, transcript: 'Hello' }),
    [{ kind: 'user-text', id: 'item_1', text: 'Hello' }]);
  const usage = { type: 'tokens', total_tokens: 48, input_tokens: 38, output_tokens: 10 };
  assert.deepEqual(readOpenAi({ type: `${type}.completed`, ...ITEM, transcript: 'Hello.', usage }), [
    { kind: 'user-text', id: 'item_1', text: 'Hello.', isFinal: true },
    { kind: 'usage', id: null, input: 38, output: 10, total: 48 },
  ]);
});

test('usage in seconds is no usage in tokens', () => {
  const type = 'conversation.item.input_audio_transcription.completed';
  const usage = { type: 'duration', seconds: 3 };
  assert.equal(readOpenAi({ type, ...ITEM, transcript: 'x', usage }).length, 1);
});

function done(response, rest = {}) {
  return readOpenAi({ type: 'response.done', response: { output: [{ id: 'i' }], ...response }, ...rest });
}

const USAGE = { total_tokens: 230, input_tokens: 52, output_tokens: 178 };
const USED = { kind: 'usage', id: 'i', input: 52, output: 178, total: 230 };
const ENDINGS = [
  ['completed', null, null],
  ['cancelled', { reason: 'turn_detected' }, 'turn_detected'],
  ['incomplete', { reason: 'content_filter' }, 'content_filter'],
  ['completed', 'unimplemented', null], // xAI's
];

for (const [status, details, reason] of ENDINGS) {
  test(`a response that is ${status} (${JSON.stringify(details)})`, () => {
    assert.deepEqual(done({ status, status_details: details, usage: USAGE }),
      [USED, { kind: 'reply-done', ids: ['i'], status, reason }]);
  });
}

test('a response that failed says why', () => {
  const error = { code: 'insufficient_quota', message: 'You exceeded your quota.' };
  assert.deepEqual(done({ status: 'failed', status_details: { type: 'failed', error } }), [
    { kind: 'error', ...error },
    { kind: 'reply-done', ids: ['i'], status: 'failed', reason: null },
  ]);
});

test("xAI's usage stands beside the response", () => {
  assert.deepEqual(done({ status: 'completed', usage: {} }, { usage: USAGE })[0], USED);
});

for (const usage of [null, undefined, {}]) {
  test(`a usage of ${JSON.stringify(usage)} is none`, () => {
    assert.deepEqual(done({ status: 'completed', usage }).map(({ kind }) => kind), ['reply-done']);
  });
}

test('a tool call is told once, when it is complete', () => {
  const item = { id: 'i', type: 'function_call', call_id: 'c', name: 'f', arguments: '{"a":1}' };
  assert.deepEqual(readOpenAi({ type: 'response.output_item.added', item }), []);
  assert.deepEqual(readOpenAi({ type: 'response.output_item.done', item }),
    [{ kind: 'tool-call', id: 'i', callId: 'c', name: 'f', arguments: '{"a":1}' }]);
});

test('an error is told, but for one that means nothing', () => {
  const error = { type: 'invalid_request_error', code: null, message: 'No.' };
  assert.deepEqual(readOpenAi({ type: 'error', error }),
    [{ kind: 'error', code: 'invalid_request_error', message: 'No.' }]);
  assert.deepEqual(
    readOpenAi({ type: 'error', error: { ...error, code: 'response_cancel_not_active' } }), []);
});

for (const type of ['ping', 'rate_limits.updated', 'toString', '__proto__', undefined]) {
  test(`a message of type ${type} is nothing to the page`, () => {
    assert.deepEqual(readOpenAi({ type }), []);
  });
}

const CREDIT = { type: 'rts.credit', topup_remaining: 5, token_remaining: -3 };

test("the gateway's own event is the same in every style", () => {
  const wanted = [{ kind: 'credit', topup: 5, tokens: -3 }];
  assert.deepEqual(readOpenAi(CREDIT), wanted);
  assert.deepEqual(new GeminiReader('m').read(CREDIT), wanted);
});

// --- Gemini ---------------------------------------------------------------------------------------

function content(fields, rest = {}) {
  return { serverContent: fields, ...rest };
}

const SPOKEN = { inlineData: { mimeType: 'audio/pcm;rate=24000', data: AUDIO } };

test('a Gemini turn: heard, said, played, counted', () => {
  const reader = new GeminiReader('gemini-live');
  assert.deepEqual(reader.read({ setupComplete: {} }), [{ kind: 'ready', model: 'gemini-live' }]);
  assert.deepEqual(reader.read(content({ inputTranscription: { text: 'Hel' } })),
    [{ kind: 'user-text', id: 'user-1', delta: 'Hel' }]);
  assert.deepEqual(
    reader.read(content({ modelTurn: { parts: [{ text: 'thinking', thought: true }] } })), []);
  // The newest models send both in one message.
  const both = content({ modelTurn: { parts: [SPOKEN] }, outputTranscription: { text: 'Hi' } });
  assert.deepEqual(reader.read(both), [
    { kind: 'user-text', id: 'user-1', isFinal: true },
    { kind: 'response-started', response: 1 },
    { kind: 'reply-started', id: 'reply-1' },
    { kind: 'reply-text', id: 'reply-1', delta: 'Hi' },
    { kind: 'audio', id: 'reply-1', response: 1, samples: SAMPLES },
  ]);
  assert.deepEqual(reader.read(content({ generationComplete: true })), [{ kind: 'audio-done' }]);
  const usageMetadata = { promptTokenCount: 100, responseTokenCount: 20, thoughtsTokenCount: 5 };
  assert.deepEqual(reader.read(content({ turnComplete: true }, { usageMetadata })), [
    { kind: 'usage', id: 'reply-1', input: 100, output: 25, total: 125 },
    { kind: 'reply-done', ids: ['reply-1'], status: 'completed', reason: null },
  ]);
  assert.equal(reader.read(content({ inputTranscription: { text: 'x' } }))[0].id, 'user-2');
});

test('a Gemini turn that is interrupted silences the page and ends as cancelled', () => {
  const reader = new GeminiReader('m');
  reader.read(content({ modelTurn: { parts: [SPOKEN] } }));
  assert.deepEqual(reader.read(content({ interrupted: true })), [{ kind: 'speech-started' }]);
  // What was on its way is of the same response, and the next one has another name.
  const late = reader.read(content({ modelTurn: { parts: [SPOKEN] } }));
  assert.deepEqual(late.map(({ response }) => response), [1]);
  assert.equal(reader.read(content({ turnComplete: true }))[0].status, 'cancelled');
  const [next] = reader.read(content({ modelTurn: { parts: [SPOKEN] } }));
  assert.deepEqual(next, { kind: 'response-started', response: 2 });
});

test("words of the user's that come while they are answered stand before the answer", () => {
  const reader = new GeminiReader('m');
  reader.read(content({ modelTurn: { parts: [SPOKEN] } }));
  assert.deepEqual(reader.read(content({ inputTranscription: { text: 'Hello' } })),
    [{ kind: 'user-text', id: 'user-1', delta: 'Hello', isFinal: true, before: 'reply-1' }]);
});

test("Vertex's names and its empty transcriptions", () => {
  const reader = new GeminiReader('m');
  assert.deepEqual(reader.read(content({ outputTranscription: {} })), []);
  assert.deepEqual(reader.read({ usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 2 } }),
    [{ kind: 'usage', id: 'reply-1', input: 1, output: 2, total: 3 }]);
});

test("Gemini's tool calls and its going away", () => {
  const reader = new GeminiReader('m');
  const toolCall = { functionCalls: [{ id: '7', name: 'f', args: { a: 1 } }] };
  assert.deepEqual(reader.read({ toolCall }),
    [{ kind: 'tool-call', id: 'call-7', callId: '7', name: 'f', arguments: '{"a":1}' }]);
  assert.deepEqual(reader.read({ goAway: { timeLeft: '50s' } }), [{ kind: 'leaving', after: '50s' }]);
});

// --- what is sent ---------------------------------------------------------------------------------

test('where each style connects, and where its key goes', () => {
  const at = (name) => sessionUrl('ws://h', DIALECTS[name], { model: 'a/b', key: 'ek_1' });
  assert.equal(at('openai'), 'ws://h/v1/realtime?model=a%2Fb&rs_events=1');
  assert.equal(at('beta'),
    'ws://h/openai/realtime?api-version=2025-04-01-preview&deployment=a%2Fb&rs_events=1');
  assert.match(at('gemini'), /BidiGenerateContent\?key=ek_1&rs_events=1$/);
  assert.deepEqual(DIALECTS.beta.protocols('ek_1'), ['realtime', 'openai-insecure-api-key.ek_1']);
  assert.deepEqual(DIALECTS.gemini.protocols('ek_1'), []);
});

test('a provider of another protocol is named in the query, and chooses its own model', () => {
  const at = (name, provider) =>
    sessionUrl('ws://h', DIALECTS[name], { model: modelFor(DIALECTS[name], provider), provider, key: 'k' });
  assert.equal(at('openai', ''), 'ws://h/v1/realtime?model=gpt-realtime&rs_events=1');
  assert.equal(at('openai', 'xai'),
    'ws://h/v1/realtime?model=grok-voice-latest&provider=xai&rs_events=1');
  assert.equal(at('openai', 'gemini'),
    'ws://h/v1/realtime?model=gpt-realtime&provider=gemini&rs_events=1');
  assert.match(at('gemini', 'openai'), /BidiGenerateContent\?key=k&provider=openai&rs_events=1$/);
  assert.equal(modelFor(DIALECTS.beta, 'openai'), 'gpt-realtime');
  assert.equal(modelFor(DIALECTS.beta, 'openai-2'), 'gpt-realtime');
});

test('audio goes at the rate that it is called', () => {
  assert.deepEqual(DIALECTS.openai.audio(SAMPLES), [{ type: 'input_audio_buffer.append', audio: AUDIO }]);
  const [{ realtimeInput }] = DIALECTS.gemini.audio(SAMPLES);
  assert.deepEqual(realtimeInput.audio,
    { data: AUDIO, mimeType: `audio/pcm;rate=${DIALECTS.gemini.rateHz}` });
});

test('what was written meanwhile is asked for once', () => {
  for (const style of ['openai', 'beta']) {
    const types = DIALECTS[style].text('one', 'two').map(({ type }) => type);
    assert.deepEqual(types,
      ['conversation.item.create', 'conversation.item.create', 'response.create']);
  }
  const [{ clientContent }] = DIALECTS.gemini.text('one', 'two');
  assert.deepEqual(clientContent.turns.map(({ parts }) => parts[0].text), ['one', 'two']);
});

test('who has spoken asks for a response, where that is not understood', () => {
  const types = [...DIALECTS.openai.endTurn(), ...DIALECTS.openai.respond()].map(({ type }) => type);
  assert.deepEqual(types, ['input_audio_buffer.commit', 'response.create']);
  assert.deepEqual([...DIALECTS.gemini.endTurn(), ...DIALECTS.gemini.respond()],
    [{ realtimeInput: { activityEnd: {} } }]);
});

test('a turn that was too short is closed, too', () => {
  assert.deepEqual(DIALECTS.openai.dropTurn(), [{ type: 'input_audio_buffer.clear' }]);
  assert.deepEqual(DIALECTS.gemini.dropTurn(), [{ realtimeInput: { activityEnd: {} } }]);
});

for (const [mode, isAutomatic] of [[OPEN, true], [PUSH, false]]) {
  test(`who says that a turn has ended, ${mode}`, () => {
    const [openai] = DIALECTS.openai.opening(mode, 'm');
    assert.equal(openai.session.audio.input.turn_detection !== null, isAutomatic);
    const [beta] = DIALECTS.beta.opening(mode, 'm');
    assert.equal(beta.session.turn_detection !== null, isAutomatic);
    const [{ setup }] = DIALECTS.gemini.opening(mode, 'm');
    assert.equal(!setup.realtimeInputConfig.automaticActivityDetection.disabled, isAutomatic);
  });
}
