// Credits: what was taken from the account, what was used here, the bars and the chart.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chartPath, CreditHistory } from '../../../../gateway/web/credit-history.js';

test('a charge takes from both buckets, after what was used here', () => {
  const history = new CreditHistory();
  assert.equal(history.take(0, { topup: 100, tokens: 1_000 }), null);
  for (let n = 0; n < 5; n += 1) history.used(30);
  assert.deepEqual(history.here, { usages: 5, tokens: 150 });
  assert.deepEqual(history.take(1, { topup: 0, tokens: 950 }),
    { topup: 100, tokens: 50, total: 150, here: { usages: 5, tokens: 150 } });
  assert.deepEqual(history.here, { usages: 0, tokens: 0 });
  assert.deepEqual(history.bars, { topup: 0, tokens: 0.95 });
});

test('what others of the account use is told, too, and not as used here', () => {
  const history = new CreditHistory();
  history.take(0, { topup: 0, tokens: 1_000 });
  assert.deepEqual(history.take(1, { topup: 0, tokens: 900 }),
    { topup: 0, tokens: 100, total: 100, here: { usages: 0, tokens: 0 } });
});

test('what is told twice is no change', () => {
  const history = new CreditHistory();
  history.take(0, { topup: 1, tokens: 1 });
  assert.equal(history.take(1, { topup: 1, tokens: 1 }), null);
  assert.equal(history.points.length, 1);
});

test('a top-up is no charge: what was used here stays, and the bar is full again', () => {
  const history = new CreditHistory();
  history.take(0, { topup: 10, tokens: 0 });
  history.used(7);
  assert.equal(history.take(1, { topup: 60, tokens: 0 }).total, -50);
  assert.deepEqual(history.here, { usages: 1, tokens: 7 });
  assert.deepEqual(history.bars, { topup: 1, tokens: 0 });
});

test('debt is an empty bar', () => {
  const history = new CreditHistory();
  history.take(0, { topup: 0, tokens: 10 });
  history.take(1, { topup: 0, tokens: -90 });
  assert.deepEqual(history.bars, { topup: 0, tokens: 0 });
});

test('of very many points the oldest go', () => {
  const history = new CreditHistory();
  for (let n = 0; n < 1_000; n += 1) history.take(n, { topup: 0, tokens: 10_000 - n });
  assert.equal(history.points.length, 600);
  assert.equal(history.points.at(-1).tokens, 9_001);
});

test('the chart is a staircase from the top to the foot', () => {
  const at = (time, topup) => ({ at: time, topup, tokens: 0 });
  assert.equal(chartPath([], 0, 300, 72), '');
  assert.equal(chartPath([at(0, 5)], 10, 300, 72), 'M0 36H300');
  assert.equal(chartPath([at(0, 10), at(50, 5), at(75, 0)], 100, 300, 72),
    'M0 0H150V36H225V72H300');
});
