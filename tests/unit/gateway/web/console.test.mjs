// The console's pure modules, by Node's own runner.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Api, target } from '../../../../gateway/web/console-api.js';
import * as format from '../../../../gateway/web/console-format.js';
import * as paging from '../../../../gateway/web/console-paging.js';
import { keyTrouble, noticeOf, problemOf } from '../../../../gateway/web/console-problems.js';
import { columns, named, since, ticks } from '../../../../gateway/web/console-scale.js';

const KEY = `rslive_v1_${'0a'.repeat(24)}`;
const NOON = Date.parse('2026-11-25T12:00:00Z');

test('numbers are whole, grouped, and have a real minus', () => {
  assert.equal(format.whole(1234567), '1,234,567');
  assert.equal(format.whole(-1200), '\u22121,200');
  assert.equal(format.signed(5), '+5');
  assert.equal(format.signed(0), '0');
  assert.equal(format.short(12_500_000), '12.5M');
  assert.equal(format.counted(1, 'credit', 'credits'), '1 credit');
  assert.equal(format.counted(0, 'credit', 'credits'), '0 credits');
});

test('moments are UTC in every form that is stored; what cannot be read is shown', () => {
  for (const stored of ['2026-11-25T09:05:00.000Z', '2026-11-25 09:05:00', '2026-11-25T10:05:00+01:00']) {
    assert.equal(format.moment(stored), '25 Nov 2026, 09:05');
  }
  assert.equal(format.moment('soon'), 'soon');
  assert.equal(format.moment(null), format.NONE);
  assert.equal(format.period('2026-11-25'), '25 Nov 2026');
  assert.equal(format.period('2026-11'), 'Nov 2026');
});

test('ticks begin at zero, are whole and evenly spaced, and reach the top', () => {
  for (let top = 1; top < 10_000_000; top = Math.ceil(top * 1.37)) {
    const found = ticks(top);
    const step = found[1];
    assert.equal(found[0], 0);
    assert.ok(found.at(-1) >= top, `${found} for ${top}`);
    assert.ok(found.at(-2) < top && found.length <= 5, `${found} for ${top}`);
    found.forEach((tick, index) => assert.equal(tick, index * step));
    assert.ok(Number.isInteger(step));
  }
  assert.deepEqual(ticks(0), [0, 1]);
});

const charged = (day, topup, tokens) => ({ day, topup_deducted: topup, token_deducted: tokens });

test('a day without charges is a column, and so are the ends of the period', () => {
  const found = columns([charged('2026-02-27', 5, 1), charged('2026-03-01', 0, 2)], '2026-02-26', '2026-03-02');
  assert.deepEqual(found.map(({ key, topup, tokens }) => [key, topup, tokens]), [
    ['2026-02-26', 0, 0], ['2026-02-27', 5, 1], ['2026-02-28', 0, 0], ['2026-03-01', 0, 2], ['2026-03-02', 0, 0],
  ]);
});

test('a long stretch comes as months that charge the same', () => {
  const found = columns([charged('2025-01-31', 1, 2), charged('2025-01-01', 3, 4), charged('2026-03-02', 5, 6)], null, '2026-03-02');
  assert.equal(found.length, 15);
  assert.deepEqual(found[0], { key: '2025-01', topup: 4, tokens: 6 });
  assert.deepEqual(found.at(-1), { key: '2026-03', topup: 5, tokens: 6 });
});

test('a charge of a clock that is ahead stays in the chart', () => {
  const found = columns([charged('2026-03-04', 1, 0)], '2026-03-01', '2026-03-02');
  assert.equal(found.at(-1).key, '2026-03-04');
});

test('a period of days ends with today', () => {
  assert.equal(since(1, NOON), '2026-11-25T00:00:00Z');
  assert.equal(since(7, NOON), '2026-11-19T00:00:00Z');
  assert.equal(since(null, NOON), null);
});

test('the last column is named, the others evenly', () => {
  assert.deepEqual(named(7, 3), [0, 3, 6]);
  assert.deepEqual(named(30, 1), [29]);
  assert.deepEqual(named(2, 9), [0, 1]);
});

test('pages lead down by cursors and back the same way', () => {
  const second = paging.older(paging.FIRST, 91);
  const third = paging.older(second, 81);
  assert.deepEqual([paging.FIRST, second, third].map(paging.cursor), [null, 91, 81]);
  assert.equal(paging.number(third), 3);
  assert.deepEqual(paging.newer(third), second);
  assert.equal(paging.older(third, null), third);
  assert.equal(paging.newer(paging.FIRST), paging.FIRST);
  assert.ok(!paging.hasNewer(paging.FIRST) && paging.hasNewer(second));
});

test('a page of groups begins below its cursor, whatever came above it meanwhile', () => {
  const group = (session, minute) => ({ session, last_at: `2026-11-25T09:0${minute}:00.000Z` });
  const groups = [group('d', 4), group('b', 3), group('c', 3), group('a', 1)];
  const first = paging.pageOf({ groups, has_more: true }, null, 2);
  assert.deepEqual(first.found.map(({ session }) => session), ['d', 'b']);
  const later = [group('e', 5), ...groups];
  const second = paging.pageOf({ groups: later, has_more: true }, first.next, 2);
  assert.deepEqual(second.found.map(({ session }) => session), ['c', 'a']);
  assert.equal(second.next, null);
  assert.deepEqual([first.isCut, second.isCut], [false, true]);
  const empty = { found: [], next: null, isCut: false };
  assert.deepEqual(paging.pageOf({ groups: [], has_more: false }, null, 2), empty);
  const gone = { groups: groups.slice(0, 2), has_more: false };
  assert.deepEqual(paging.pageOf(gone, first.next, 2), empty);
});

test('what an account may not do is said before it tries', () => {
  const account = { status: 'active', topup_remaining: 5, token_remaining: -4 };
  assert.equal(noticeOf(account), '');
  assert.match(noticeOf({ ...account, token_remaining: -5 }), /no credits left/i);
  assert.match(noticeOf({ ...account, status: 'disabled' }), /disabled/);
});

test('what cannot be a key is not sent, and the words say why', () => {
  assert.equal(keyTrouble(KEY), null);
  assert.match(keyTrouble(''), /paste/i);
  assert.match(keyTrouble('ek_abc'), /ephemeral/);
  for (const wrong of [`${KEY}0`, KEY.slice(1), KEY.toUpperCase(), `${KEY} `]) {
    assert.match(keyTrouble(wrong), /48 hexadecimal/);
  }
});

const PROBLEMS = [
  // status, code, the account is signed out, words
  [401, 'invalid_api_key', true, /revoked/],
  [401, 'expired_api_key', true, /expired/],
  [503, 'service_unavailable', false, /away/],
  [503, undefined, false, /away/],
  [429, 'rate_limit_exceeded', false, /too many/i],
  [429, undefined, false, /too many/i],
  [500, 'internal_error', false, /could not answer/],
  [418, undefined, false, /http_418/],
];

for (const [status, code, signsOut, words] of PROBLEMS) {
  test(`${status} ${code ?? 'without a code'} is said in words`, () => {
    const problem = problemOf(status, code ? { error: { code } } : null);
    assert.equal(problem.signsOut, signsOut);
    assert.match(problem.message, words);
  });
}

test('parameters without a value stay out of the path', () => {
  assert.equal(target('/api/usage', { by: 'day', since: null }), '/api/usage?by=day');
  assert.equal(target('/api/keys', {}), '/api/keys');
});

test('the key goes into the header only, and nowhere after closing', async () => {
  const calls = [];
  const fetch = (url, options) => {
    calls.push([url, options]);
    return Promise.resolve(Response.json({ id: 'acct' }));
  };
  const api = new Api(KEY, { fetch });
  assert.deepEqual(await api.account(), { id: 'acct' });
  const [[url, options]] = calls;
  assert.equal(options.headers.Authorization, `Bearer ${KEY}`);
  assert.ok(!url.includes(KEY) && !JSON.stringify(api).includes(KEY));
  api.close();
  assert.ok(options.signal.aborted);
  await api.account().catch(() => {});
  assert.ok(!JSON.stringify(calls.slice(1)).includes(KEY));
});

test('a gateway that cannot be reached, or breaks off, is a problem with words', async () => {
  const broken = () => Promise.reject(new TypeError('failed'));
  await assert.rejects(new Api(KEY, { fetch: broken }).account(), { code: 'gateway_away' });
  const cut = () => Promise.resolve(new Response('{"id": '));
  await assert.rejects(new Api(KEY, { fetch: cut }).account(), { code: 'gateway_away' });
  const torn = () => new ReadableStream({ start: (body) => body.error(new TypeError('torn')) });
  const half = () => Promise.resolve(new Response(torn()));
  await assert.rejects(new Api(KEY, { fetch: half }).csv(null, () => {}), { code: 'gateway_away' });
});

test('a file tells how much of it is there', async () => {
  const pieces = ['a,b\r\n', '1,2\r\n3,4\r\n'];
  const body = new ReadableStream({
    pull: (out) => (pieces.length ? out.enqueue(new TextEncoder().encode(pieces.shift())) : out.close()),
  });
  const told = [];
  const api = new Api(KEY, { fetch: async () => new Response(body) });
  const file = await api.csv(null, (size) => told.push(size));
  assert.equal(await file.text(), 'a,b\r\n1,2\r\n3,4\r\n');
  assert.deepEqual(told, [5, 15]);
});

test('a file that goes on is waited for, one that falls silent is not', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let out;
  const fetch = async (_, { signal }) => {
    const body = new ReadableStream({ start: (controller) => { out = controller; } });
    signal.addEventListener('abort', () => out.error(signal.reason));
    return new Response(body);
  };
  const told = [];
  const saved = new Api(KEY, { fetch }).csv(null, (size) => told.push(size));
  const failed = assert.rejects(saved, { code: 'gateway_away' });
  for (const size of [1, 2, 3]) {
    await new Promise(setImmediate);
    out.enqueue(new Uint8Array(1));
    while (told.length < size) await new Promise(setImmediate);
    context.mock.timers.tick(20_000);
  }
  assert.deepEqual(told, [1, 2, 3]);
  context.mock.timers.tick(10_001);
  await failed;
});
