// The playback queue: nothing is lost, doubled or heard after a cut, whatever the pieces.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PlaybackQueue, PREBUFFER_MS } from '../../../../gateway/web/playback-queue.js';

const RATE = 24_000;
const PREBUFFER = (RATE * PREBUFFER_MS) / 1000;
const BLOCK = 128;

function ramp(from, count) {
  return Float32Array.from({ length: count }, (_, n) => from + n);
}

function pull(queue, blocks) {
  const heard = [];
  const happened = [];
  for (let n = 0; n < blocks; n += 1) {
    const output = new Float32Array(BLOCK);
    happened.push(...queue.pull(output));
    heard.push(...output);
  }
  return { heard, happened };
}

test('pieces of any size are heard without a gap and in order', () => {
  // Mulberry32: the same "random" sizes every time.
  let seed = 7;
  const random = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    const t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    return (((t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const queue = new PlaybackQueue(RATE);
  let next = 1;
  while (next < 20_000) {
    const count = Math.floor(random() * 3_000);
    queue.push('a', ramp(next, count));
    next += count;
  }
  const { heard } = pull(queue, Math.ceil(next / BLOCK));
  assert.deepEqual(heard.slice(0, next - 1), [...ramp(1, next - 1)]);
  assert.ok(heard.slice(next - 1).every((x) => x === 0));
});

test('a reply waits for the prebuffer, unless nothing more comes', () => {
  const queue = new PlaybackQueue(RATE);
  queue.push('a', ramp(1, PREBUFFER - 1));
  assert.ok(pull(queue, 3).heard.every((x) => x === 0));
  queue.flush();
  assert.equal(pull(queue, 1).heard[0], 1);
});

test('the first sound of each item is told, with its place', () => {
  const queue = new PlaybackQueue(RATE);
  queue.push('a', ramp(1, PREBUFFER));
  queue.push('b', ramp(1, BLOCK));
  const { happened } = pull(queue, 20);
  assert.deepEqual(happened, [
    { kind: 'started', item: 'a', at: 0 },
    { kind: 'started', item: 'b', at: PREBUFFER % BLOCK },
    { kind: 'dry', at: (PREBUFFER + BLOCK) % BLOCK },
  ]);
  assert.deepEqual(queue.flush(),
    [{ kind: 'finished', item: 'a' }, { kind: 'finished', item: 'b' }]);
});

test('an item of which nothing more comes has ended with its last sample', () => {
  const queue = new PlaybackQueue(RATE);
  queue.push('a', ramp(1, BLOCK));
  assert.deepEqual(queue.flush(), []);
  queue.push('b', ramp(1, BLOCK));
  assert.deepEqual(pull(queue, 1).happened,
    [{ kind: 'started', item: 'a', at: 0 }, { kind: 'finished', item: 'a' }]);
  assert.deepEqual(queue.unfinished, [{ item: 'b', played: 0 }]);
});

test('a cut is silence at once, and says how much was heard', () => {
  const queue = new PlaybackQueue(RATE);
  queue.push('a', ramp(1, 10_000));
  pull(queue, 4);
  assert.deepEqual(queue.cut(), [{ item: 'a', played: 4 * BLOCK }]);
  assert.equal(queue.queued, 0);
  assert.ok(pull(queue, 4).heard.every((x) => x === 0));
  assert.deepEqual(queue.cut(), []);
  queue.push('b', ramp(1, PREBUFFER));
  assert.equal(pull(queue, 1).heard[0], 1);
});

test('a cut names everything that waits, of which nothing was heard', () => {
  const queue = new PlaybackQueue(RATE);
  queue.push('a', ramp(1, PREBUFFER));
  pull(queue, 2);
  for (const item of ['b', 'c']) queue.push(item, ramp(1, 10_000));
  assert.deepEqual(queue.cut(), [
    { item: 'a', played: 2 * BLOCK }, { item: 'b', played: 0 }, { item: 'c', played: 0 },
  ]);
});

test('a cut before the prebuffer is full names what nobody heard', () => {
  const queue = new PlaybackQueue(RATE);
  queue.push('a', ramp(1, 10));
  pull(queue, 2);
  assert.deepEqual(queue.cut(), [{ item: 'a', played: 0 }]);
});

test('what ran dry is cut while more of it may come, and not when it was heard whole', () => {
  const queue = new PlaybackQueue(RATE);
  queue.push('a', ramp(1, PREBUFFER));
  pull(queue, 20);
  assert.deepEqual(queue.unfinished, [{ item: 'a', played: PREBUFFER }]);
  queue.flush();
  assert.deepEqual(queue.cut(), []);
});

test('after it ran dry it gathers again', () => {
  const queue = new PlaybackQueue(RATE);
  queue.push('a', ramp(1, PREBUFFER));
  pull(queue, 20);
  queue.push('a', ramp(1, 10));
  assert.ok(pull(queue, 1).heard.every((x) => x === 0));
  queue.push('a', ramp(11, PREBUFFER));
  assert.deepEqual(pull(queue, 1).heard.slice(0, 12), [...ramp(1, 12)]);
});
