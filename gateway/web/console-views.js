// What the console shows of each answer: answers in, elements out.

import { bar, columnChart, legend } from './console-chart.js';
import * as format from './console-format.js';
import { columns as columnsOf, dayOf } from './console-scale.js';
import { table } from './console-table.js';
import { element } from './dom.js';

const NAMED_KIND = {
  response: 'Responses', transcription: 'Transcription', estimate: 'Estimates', duration: 'Duration',
};

export function balance(account) {
  const { topup_remaining: topup, token_remaining: tokens } = account;
  const bucket = (name, amount, note) => element('div', { className: `purse ${name}` },
    element('dt', {}, note),
    element('dd', { className: amount < 0 ? 'negative' : '', dataset: { bucket: name } }, format.whole(amount)));
  return element('div', { className: 'balance' },
    element('p', { className: topup + tokens > 0 ? 'sum' : 'sum negative', dataset: { sum: '' } }, format.whole(topup + tokens)),
    bar(topup, tokens, Math.max(0, topup) + Math.max(0, tokens)),
    element('dl', {},
      bucket('topup', topup, 'Top-up, spent first'),
      bucket('tokens', tokens, tokens < 0 ? 'Subscription, overdrawn' : 'Subscription')),
    element('p', { className: 'hint' },
      `${account.email} \u00b7 plan ${account.plan_name} \u00b7 `,
      element('span', { className: `state ${account.status}` }, account.status)));
}

// `first` is the day with which the period begins, or null.
export function byDay(statement, first, nowMs) {
  const { groups, totals, has_more: isCut } = statement;
  if (!groups.length) return note('Nothing was charged in this period.');
  const columns = columnsOf(groups, first, dayOf(nowMs));
  const used = [
    figure(totals.credits, 'credit', 'credits'),
    figure(totals.total_tokens, 'token', 'tokens'),
    figure(totals.responses, 'response', 'responses'),
  ];
  const label = `Credits charged, ${format.period(columns[0].key)} to ${format.period(columns.at(-1).key)}`;
  return element('div', {},
    element('ul', { className: 'figures' }, ...used),
    ...(isCut ? [note(`The newest ${groups.length} days are shown; the sums are of all.`)] : []),
    legend(),
    columnChart(label, columns),
    element('details', {},
      element('summary', {}, 'As a table'),
      table('Charged by day', groupColumns('day', format.period), groups, [total(totals)])));
}

export function byName(caption, statement) {
  const { by, groups, totals } = statement;
  if (!groups.length) return note('Nothing was charged in this period.');
  const top = Math.max(...groups.map((group) => group.credits));
  const sorted = groups.toSorted((one, other) => other.credits - one.credits);
  const shown = by === 'kind' ? (kind) => NAMED_KIND[kind] ?? kind : (name) => name || 'unknown';
  const { has_more: isCut } = statement;
  const [name, , ...amounts] = groupColumns(by, shown);
  const share = {
    head: 'Share',
    cell: (group) => (group.isTotal ? '' : bar(group.topup_deducted, group.token_deducted, top)),
  };
  return element('div', {},
    ...(isCut ? [note(`${groups.length} are shown, those with the newest charges; the total is of all.`)] : []),
    table(caption, [name, share, ...amounts], sorted, [total(totals)]));
}

// Opening, granted, charged, closing of both buckets, and the grants.
export function movements(statement) {
  const { opening, granted, charged, closing } = statement;
  const lines = [
    ['Opening', opening.topup_remaining, opening.token_remaining, format.whole],
    ['Granted', granted.topup_delta, granted.token_delta, format.signed],
    ['Charged', -charged.topup_deducted, -charged.token_deducted, format.signed],
    ['Closing', closing.topup_remaining, closing.token_remaining, format.whole],
  ];
  const sums = table('Statement of the period', [
    { head: 'Entry', cell: (line) => line[0] },
    { head: 'Top-up', isNumber: true, cell: (line) => line[3](line[1]) },
    { head: 'Subscription', isNumber: true, cell: (line) => line[3](line[2]) },
  ], lines);
  return statement.grants.length ? element('div', {}, sums, grants(statement)) : sums;
}

function grants({ grants: found, grants_total: all }) {
  return element('details', {},
    element('summary', {}, 'Grants'),
    ...(found.length < all ? [note(`The newest ${found.length} of ${format.whole(all)} grants are shown; the sums above are of all.`)] : []),
    table('Grants of the period', [
      { head: 'Time', cell: (grant) => when(grant.created_at) },
      { head: 'Reason', isMinor: true, cell: (grant) => grant.reason || grant.kind },
      { head: 'Top-up', isNumber: true, cell: (grant) => format.signed(grant.topup_delta) },
      { head: 'Subscription', isNumber: true, cell: (grant) => format.signed(grant.token_delta) },
    ], found.toReversed()));
}

export function sessions(found) {
  if (!found.length) return note('No sessions in this period.');
  return table('Recent sessions', [
    { head: 'Session', cell: (row) => element('span', { className: 'id' }, row.session) },
    { head: 'Last charge', cell: (row) => when(row.last_at) },
    amount('Responses', 'responses', true),
    amount('Tokens', 'total_tokens', true),
    amount('Credits', 'credits'),
  ], found);
}

export function rows(found) {
  if (!found.length) return note('No charges in this period.');
  return table('Recent charges', [
    { head: 'Session', cell: (row) => element('span', { className: 'id' }, row.session_id) },
    { head: 'Time', cell: (row) => when(row.created_at) },
    { head: 'Model', isMinor: true, cell: (row) => row.model || format.NONE },
    { head: 'Kind', isMinor: true, cell: (row) => row.kind },
    amount('Tokens', 'total_tokens', true),
    { head: 'Credits', isNumber: true, cell: (row) => format.whole(row.topup_deducted + row.token_deducted) },
  ], found);
}

export function keys({ keys: found, total: all, truncated: isCut }, nowMs) {
  const shown = table('Keys of the account', [
    { head: 'Key', cell: (key) => named(key) },
    { head: 'State', cell: (key) => state(key, nowMs) },
    { head: 'Last used', cell: (key) => (key.last_used_at ? when(key.last_used_at) : 'never') },
    { head: 'Created', isMinor: true, cell: (key) => when(key.created_at) },
  ], found);
  if (!isCut) return shown;
  return element('div', {}, note(`The newest ${found.length} of ${format.whole(all)} keys are shown.`), shown);
}

// --- helpers ---------------------------------------------------------------------------------

function note(words) {
  return element('p', { className: 'hint' }, words);
}

function figure(count, one, many) {
  return element('li', {}, element('strong', {}, format.whole(count)), ` ${count === 1 ? one : many}`);
}

function groupColumns(by, shown) {
  const head = by[0].toUpperCase() + by.slice(1);
  return [
    { head, cell: (group) => (group.isTotal ? 'Total' : shown(group[by] ?? '')) },
    amount('Responses', 'responses', true),
    amount('Tokens', 'total_tokens', true),
    amount('Credits', 'credits'),
  ];
}

function total(totals) {
  return { ...totals, isTotal: true };
}

function amount(head, name, isMinor = false) {
  return { head, isNumber: true, isMinor, cell: (row) => format.whole(row[name]) };
}

function when(stored) {
  const found = format.parseMoment(stored);
  return found ? element('time', { dateTime: found.toISOString() }, format.moment(stored)) : format.moment(stored);
}

function named(key) {
  const label = element('span', { className: 'label' }, key.label ?? '');
  return element('span', {}, element('code', {}, key.key_indicator), label);
}

function state(key, nowMs) {
  const expires = format.parseMoment(key.expires_at);
  if (key.revoked_at) return element('span', { className: 'state disabled' }, 'revoked');
  if (key.expires_at && !(expires && expires.getTime() > nowMs)) {
    return element('span', { className: 'state disabled' }, 'expired');
  }
  const until = expires ? `until ${format.moment(key.expires_at)}` : 'active';
  return element('span', { className: 'state active' }, until);
}
