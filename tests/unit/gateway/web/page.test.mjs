// The conversation, the reasons in plain words, the event log, the waits and the sample.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Backoff, delayMs, GOOD_AFTER_MS, MOST_MS } from '../../../../gateway/web/backoff.js';
import { Conversation } from '../../../../gateway/web/conversation.js';
import { EventLog, MESSAGES_MAX, typeOf } from '../../../../gateway/web/event-log.js';
import { whyClosed, whyNoMicrophone, whyRefused } from '../../../../gateway/web/reasons.js';
import { peak } from '../../../../gateway/web/resample.js';
import { makeSample, SAMPLE_MS, SILENCE_MS } from '../../../../gateway/web/sample.js';

test('a transcript grows, is replaced and ends', () => {
  const talk = new Conversation();
  talk.take({ kind: 'reply-started', id: 'r' });
  for (const delta of ['I', ' heard']) talk.take({ kind: 'reply-text', id: 'r', delta });
  const [entry] = talk.entries;
  assert.equal(entry.text, 'I heard');
  assert.equal(entry.isFinal, false);
  talk.take({ kind: 'reply-text', id: 'r', text: 'I heard you.', isFinal: true });
  talk.take({ kind: 'usage', id: 'r', total: 1_234 });
  talk.take({ kind: 'reply-done', ids: ['r'], status: 'cancelled' });
  assert.deepEqual(entry, {
    id: '0/r', who: 'reply', before: null, text: 'I heard you.', isFinal: true, note: '1,234 tokens',
    ending: 'interrupted', latency: null, answer: '',
  });
});

test('what the user said stays where it was said, however late it is understood', () => {
  const talk = new Conversation();
  talk.take({ kind: 'user-text', id: 'u' });
  talk.take({ kind: 'reply-started', id: 'r' });
  talk.take({ kind: 'user-text', id: 'u', text: 'Hello', isFinal: true });
  assert.deepEqual(talk.entries.map(({ who, text }) => [who, text]), [['user', 'Hello'], ['reply', '']]);
});

test('another session may use the same ids', () => {
  const talk = new Conversation();
  talk.take({ kind: 'reply-text', id: 'reply-1', delta: 'one' });
  assert.equal(talk.seal().length, 1);
  talk.take({ kind: 'reply-text', id: 'reply-1', delta: 'two' });
  assert.deepEqual(talk.entries.map(({ text }) => text), ['one', 'two']);
});

test('usage of nothing that is shown changes nothing', () => {
  assert.deepEqual(new Conversation().take({ kind: 'usage', id: null, total: 3 }), []);
});

const CLOSES = [
  [{ code: 1008, reason: 'insufficient_quota', lastError: null }, 'No credits left', false],
  [{ code: 1008, reason: '', lastError: 'insufficient_quota' }, 'No credits left', false],
  [{ code: 1008, reason: 'session_ended', lastError: null }, 'The session was ended', false],
  [{ code: 1008, reason: '', lastError: 'invalid_api_key' }, 'The key is not accepted', false],
  [{ code: 1008, reason: 'session_length_reached', lastError: null }, 'The session was as long as it may be', false],
  [{ code: 1008, reason: '', lastError: 'session_tokens_reached' }, 'The session has used what it may', false],
  [{ code: 1008, reason: '', lastError: 'spending_limit_reached' }, 'The key has spent what it may', false],
  [{ code: 1008, reason: 'odd', lastError: null }, 'The session was ended by a rule', false],
  [{ code: 1001, reason: '', lastError: null }, 'The gateway goes away', true],
  [{ code: 1001, reason: '', lastError: 'session_expired' }, 'The session was as long as it may be', true],
  [{ code: 1006, reason: '', lastError: null }, 'The connection was lost', true],
  [{ code: 1011, reason: '', lastError: 'server_error' }, 'The provider failed', true],
  [{ code: 1013, reason: '', lastError: null }, 'The gateway asks to try again later', true],
  [{ code: 4999, reason: 'x', lastError: null }, 'The session was closed', false],
];

for (const [close, title, canRetry] of CLOSES) {
  test(`a close ${JSON.stringify(close)} is told as: ${title}`, () => {
    const why = whyClosed(close);
    assert.deepEqual([why.title, why.canRetry], [title, canRetry]);
  });
}

test('an unknown reason of a close is shown as it is', () => {
  assert.match(whyClosed({ code: 1008, reason: 'odd', lastError: null }).detail, /“odd”/);
});

const REFUSALS = [
  [{ status: 401, code: 'expired_api_key' }, 'The key has expired', false],
  [{ status: null, code: 'not_ephemeral' }, 'This is not an ephemeral key', false],
  [{ status: 401, code: 'invalid_api_key' }, 'The key is not accepted', false],
  [{ status: 402, code: 'insufficient_credits' }, 'No credits left', false],
  [{ status: 403, code: 'account_disabled' }, 'The account is disabled', false],
  [{ status: 403, code: 'model_not_allowed' }, 'The model is not allowed', false],
  [{ status: 403, code: 'origin_not_allowed' }, 'The key is for another page', false],
  [{ status: 403, code: 'provider_not_allowed' }, 'The provider is not allowed', false],
  [{ status: 429, code: 'too_many_sessions' }, 'Too many sessions at a time', true],
  [{ status: 429, code: 'too_many_new_sessions' }, 'Too many new sessions', true],
  [{ status: 404 }, 'There is no such provider or page here', false],
  [{ status: 429 }, 'Too many requests', true],
  [{ status: 502 }, 'The session was refused', true],
  [{ status: 503 }, 'The gateway is not ready', true],
  [{ status: null }, 'The gateway cannot be reached', true],
];

for (const [refusal, title, canRetry] of REFUSALS) {
  test(`a refusal ${JSON.stringify(refusal)} is told as: ${title}`, () => {
    const why = whyRefused(refusal);
    assert.deepEqual([why.title, why.canRetry], [title, canRetry]);
  });
}

test('a microphone that is denied, and a page that may not ask', () => {
  assert.equal(whyNoMicrophone('NotAllowedError', true).title, 'The microphone is blocked');
  assert.equal(whyNoMicrophone('NotAllowedError', false).title, 'This page needs a secure address');
  assert.match(whyNoMicrophone('OddError', true).detail, /OddError/);
});

test('waits double up to a bound, and are spread', () => {
  assert.deepEqual([1, 2, 3, 4, 5, 50].map((n) => delayMs(n, 0.5)),
    [1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
  assert.deepEqual([delayMs(1, 0), delayMs(1, 1)], [750, 1_250]);
  assert.ok(delayMs(50, 1) <= MOST_MS * 1.25);
});

test('a session that was good makes the next loss a first one', () => {
  const backoff = new Backoff();
  const lost = (lastedMs) => [backoff.lost(lastedMs, 0.5), backoff.attempt];
  assert.deepEqual([0, 0, GOOD_AFTER_MS].map(lost), [[1_000, 1], [2_000, 2], [4_000, 3]]);
  assert.deepEqual([GOOD_AFTER_MS + 1, 0].map(lost), [[1_000, 1], [2_000, 2]]);
});

test('messages are called by their type, or by their fields', () => {
  assert.equal(typeOf({ type: 'error' }), 'error');
  assert.equal(typeOf({ serverContent: { turnComplete: true }, usageMetadata: {} }),
    'serverContent.turnComplete + usageMetadata');
  assert.equal(typeOf({ realtimeInput: { audio: {} } }), 'realtimeInput.audio');
});

test('the log filters by words, and by words that must not be there', () => {
  const log = new EventLog();
  log.add('sent', 0.4, { type: 'input_audio_buffer.append' });
  log.add('received', 1.6, { type: 'response.done' });
  log.add('received', 2, { type: 'response.output_audio.delta' });
  const types = (filter) => log.shown(filter).map(({ type }) => type);
  assert.deepEqual(types('Received -delta'), ['response.done']);
  assert.deepEqual(types('audio'), ['input_audio_buffer.append', 'response.output_audio.delta']);
  assert.deepEqual(JSON.parse(log.asJson('done')),
    [{ direction: 'received', at_ms: 2, message: { type: 'response.done' } }]);
});

test('a pause shows what there was, and loses nothing', () => {
  const log = new EventLog();
  log.add('sent', 0, { type: 'a' });
  log.pause();
  log.add('sent', 0, { type: 'b' });
  assert.equal(log.missed, 1);
  assert.equal(log.shown().length, 1);
  log.resume();
  assert.equal(log.missed, 0);
  assert.equal(log.shown().length, 2);
});

test('a pause keeps what it shows, however much comes meanwhile', () => {
  const log = new EventLog();
  log.add('sent', 0, { type: 'a' });
  log.pause();
  for (let n = 0; n < MESSAGES_MAX; n += 1) log.add('sent', 0, { type: 'b' });
  assert.deepEqual(log.shown().map(({ type }) => type), ['a']);
  log.clear();
  assert.equal(log.shown().length, 0);
  log.resume();
  assert.equal(log.shown().length, 0);
});

test('audio is kept by its length, and old messages go', () => {
  const log = new EventLog();
  log.add('sent', 0, { type: 'a', list: [{ audio: 'x'.repeat(1_000) }], none: null, n: 1 });
  assert.deepEqual(log.shown()[0].message,
    { type: 'a', list: [{ audio: '… 1000 characters' }], none: null, n: 1 });
  for (let n = 0; n < MESSAGES_MAX; n += 1) log.add('sent', 0, { type: 'b' });
  assert.equal(log.shown().length, MESSAGES_MAX);
  assert.equal(log.shown('a').length, 0);
});

test('the sample is a voice, and then a silence that ends the turn', () => {
  const rate = 48_000;
  const sample = makeSample(rate);
  assert.equal(sample.length, ((SAMPLE_MS + SILENCE_MS) * rate) / 1000);
  const end = (SAMPLE_MS * rate) / 1000;
  assert.ok(peak(sample) > 0.2 && peak(sample) < 0.9);
  assert.equal(peak(sample.subarray(end)), 0);
});
