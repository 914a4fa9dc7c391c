// What a call rests on: the order of what is sent, what is still to be heard, and when it is too quiet.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Outbox } from '../../../../gateway/web/outbox.js';
import { Replies } from '../../../../gateway/web/replies.js';
import { Silence, SILENCE_MS } from '../../../../gateway/web/silence.js';

// An outbox and what it has sent, and promises that are kept when the test says so.
function outbox() {
  const sent = [];
  return { box: new Outbox((messages) => sent.push(...messages)), sent };
}

function later() {
  const made = {};
  made.promise = new Promise((resolve) => {
    made.keep = resolve;
  });
  return made;
}

test('what is sent after a cut comes after what is told of it', async () => {
  const { box, sent } = outbox();
  const [first, second] = [later(), later()];
  box.push(['cancel']);
  const told = [box.hold(first.promise), box.hold(second.promise)];
  box.push(['create']);
  second.keep(['truncate b']);
  await told[1];
  assert.deepEqual(sent, ['cancel']);
  first.keep(['truncate a']);
  await Promise.all(told);
  box.push(['append']);
  assert.deepEqual(sent, ['cancel', 'truncate a', 'truncate b', 'create', 'append']);
});

test('nothing of a session that is over is sent', async () => {
  const { box, sent } = outbox();
  const cut = later();
  const told = box.hold(cut.promise);
  box.push(['create']);
  box.close();
  cut.keep(['truncate']);
  await told;
  box.push(['append']);
  assert.deepEqual(sent, []);
});

test('late pieces of a response that was cut are not wanted, those of the next one are', () => {
  const replies = new Replies();
  replies.started('a');
  assert.equal(replies.wants('a'), true);
  assert.equal(replies.cut(), true);
  assert.equal(replies.wants('a'), false);
  replies.done();
  assert.equal(replies.wants('a'), false);
  replies.started('b');
  assert.deepEqual(['a', 'b'].map((name) => replies.wants(name)), [false, true]);
});

test('one that was asked for is cut before it begins', () => {
  const replies = new Replies();
  replies.asked();
  assert.equal(replies.isBusy, true);
  assert.equal(replies.cut(), true);
  replies.started('a');
  assert.equal(replies.wants('a'), false);
  replies.done();
  replies.asked();
  replies.started('b');
  assert.equal(replies.wants('b'), true);
});

test('a cut in silence cancels nothing, and harms nothing that comes', () => {
  const replies = new Replies();
  assert.equal(replies.cut(), false);
  replies.started('a');
  assert.equal(replies.wants('a'), true);
});

test('a server that names no responses is heard again after a cut', () => {
  const replies = new Replies();
  replies.started(undefined);
  replies.cut();
  assert.equal(replies.wants(undefined), false);
  replies.started(undefined);
  assert.equal(replies.wants(undefined), true);
});

test('a server that does not say that a response begins is cut, too', () => {
  const replies = new Replies();
  assert.equal(replies.wants('a'), true);
  replies.cut();
  assert.equal(replies.wants('a'), false);
});

test('an error in place of a response is not waited behind', () => {
  const replies = new Replies();
  replies.asked();
  assert.equal(replies.failed(), true);
  assert.equal(replies.isBusy, false);
  replies.started('a');
  assert.equal(replies.failed(), false);
  assert.equal(replies.isBusy, true);
});

test('silence is too long when something is due, counted from the last that came', () => {
  const silence = new Silence(0);
  assert.equal(silence.isTooLong(SILENCE_MS - 1, true), false);
  assert.equal(silence.isTooLong(SILENCE_MS, true), true);
  silence.heard(SILENCE_MS);
  assert.equal(silence.isTooLong(2 * SILENCE_MS - 1, true), false);
  assert.equal(silence.isTooLong(2 * SILENCE_MS - 1, false), false);
  assert.equal(silence.isTooLong(3 * SILENCE_MS - 2, true), false);
  assert.equal(silence.isTooLong(3 * SILENCE_MS - 1, true), true);
});
