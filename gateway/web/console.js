// The console: wires the page's controls to questions, and answers to views.
//
// It holds at most one signed-in account. What was asked with a key is shown only while that key
// is signed in, and only if nothing was asked in its place since.

import { Api } from './console-api.js';
import * as format from './console-format.js';
import * as paging from './console-paging.js';
import { keyTrouble, noticeOf, Problem } from './console-problems.js';
import { since } from './console-scale.js';
import * as views from './console-views.js';
import { byId } from './dom.js';

const PAGE_ROWS = 10;
// Each reads a page, {found, next, isCut}, of the period from a cursor on.
const LISTS = {
  sessions: {
    async read(mine, from, cursor) {
      const statement = await mine.statement('session', from);
      return paging.pageOf(statement, cursor, PAGE_ROWS);
    },
    shown: views.sessions,
  },
  rows: {
    async read(mine, from, cursor) {
      const { rows, next_before: next } = await mine.rows(from, cursor, PAGE_ROWS);
      return { found: rows, next, isCut: false };
    },
    shown: views.rows,
  },
};
const SHOWN = ['balance', 'by-day', 'by-model', 'by-kind', 'list', 'statement', 'keys'];
const SAVED_MS = 10_000; // by then the browser has taken the file over

const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

let api = null;
let pages = paging.FIRST;
let next = null; // the cursor of the older page
const asked = new Map(); // topic -> its last question
const troubles = new Map(); // topic -> what went wrong with it

byId('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  signIn(byId('key').value.trim());
});
byId('sign-out').addEventListener('click', () => {
  signOut();
  tell('Signed out. The key is forgotten.');
});
byId('refresh').addEventListener('click', look);
byId('export').addEventListener('click', save);
byId('newer').addEventListener('click', () => turn(paging.newer(pages)));
byId('older').addEventListener('click', () => turn(paging.older(pages, next)));
for (const input of document.querySelectorAll('input[name=days]')) {
  input.addEventListener('change', look);
}
for (const input of document.querySelectorAll('input[name=list]')) {
  input.addEventListener('change', () => turn(paging.FIRST));
}
// A page that the browser keeps for its Back button must not keep the key.
addEventListener('pagehide', () => signOut());

// --- signing in and out ----------------------------------------------------------------------

function signIn(key) {
  signOut({ keepsInput: true });
  const trouble = keyTrouble(key);
  if (trouble) {
    refuse(trouble);
    return;
  }
  api = new Api(key);
  ask('door', (mine) => mine.account(), (account) => {
    byId('key').value = '';
    show({ isSignedIn: true });
    showBalance(account);
    byId('balance-title').focus();
    look();
  }, (problem) => {
    signOut({ keepsInput: true });
    refuse(problem.message);
  });
}

// Forget the key and everything that it showed.
function signOut({ keepsInput = false } = {}) {
  api?.close();
  api = null;
  pages = paging.FIRST;
  next = null;
  asked.clear();
  troubles.clear();
  for (const id of [...SHOWN, 'status', 'page', 'cut', 'notice']) byId(id).replaceChildren();
  if (!keepsInput) byId('key').value = '';
  showSaving(null);
  showProgress();
  byId('key').removeAttribute('aria-invalid');
  byId('door-trouble').textContent = '';
  show({ isSignedIn: false });
}

function refuse(words) {
  byId('key').setAttribute('aria-invalid', 'true');
  byId('door-trouble').textContent = words;
  byId('key').focus();
}

function tell(words) {
  byId('door-status').textContent = words;
  byId('key').focus();
}

function show({ isSignedIn }) {
  byId('door').hidden = isSignedIn;
  byId('desk').hidden = !isSignedIn;
  byId('sign-out').hidden = !isSignedIn;
  byId('door-status').textContent = '';
}

// --- looking ---------------------------------------------------------------------------------

// Ask for everything that is shown.
function look() {
  troubles.clear();
  const now = Date.now();
  const from = periodStart(now);
  turn(paging.FIRST);
  ask('desk', (mine) => Promise.all([
    mine.account(),
    mine.keys(),
    ...['day', 'model', 'kind'].map((by) => mine.statement(by, from)),
  ]), ([account, keys, byDay, byModel, byKind]) => {
    showBalance(account);
    byId('keys').replaceChildren(views.keys(keys, now));
    byId('by-day').replaceChildren(views.byDay(byDay, from?.slice(0, 10) ?? null, now));
    byId('by-model').replaceChildren(views.byName('Charged by model', byModel));
    byId('by-kind').replaceChildren(views.byName('Charged by kind', byKind));
    byId('statement').replaceChildren(views.movements(byDay));
    byId('status').textContent = `As of ${format.moment(new Date(now).toISOString())}`;
  });
}

function showBalance(account) {
  byId('balance').replaceChildren(views.balance(account));
  byId('notice').textContent = noticeOf(account);
}

// Show another page of the list.
function turn(to) {
  const { read, shown } = LISTS[chosen('list')];
  const from = periodStart(Date.now());
  ask('list', (mine) => read(mine, from, paging.cursor(to)), (page) => {
    pages = to;
    next = page.next;
    byId('list').replaceChildren(shown(page.found));
    byId('page').textContent = `Page ${paging.number(pages)}`;
    byId('cut').textContent = page.isCut ? 'For older sessions choose a shorter period.' : '';
    // Not `disabled`: that would take the focus from under whoever turns pages by keyboard.
    byId('newer').setAttribute('aria-disabled', String(!paging.hasNewer(pages)));
    byId('older').setAttribute('aria-disabled', String(next === null));
  });
}

// Save the charges of the period as a file, which may take a while; meanwhile there is one only.
async function save() {
  if (asked.has('file')) return;
  const own = api;
  const told = (size) => {
    if (api === own) showSaving(size);
  };
  showSaving(0);
  await ask('file', (mine) => mine.csv(periodStart(Date.now()), told), (file) => {
    const url = URL.createObjectURL(file);
    const link = document.createElement('a');
    link.href = url;
    link.download = 'usage.csv';
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), SAVED_MS);
  });
  told(null);
}

// How much of the file is there, in bytes; null: none is being saved.
function showSaving(size) {
  byId('saved').textContent = size ? `Saving: ${format.short(size)}B so far` : '';
  byId('export').setAttribute('aria-disabled', String(size !== null));
}

function periodStart(now) {
  const days = chosen('days');
  return since(days === 'all' ? null : Number(days), now);
}

// Ask about a topic and show the answer, unless it is overtaken.
async function ask(topic, question, shown, failed = (problem) => fail(topic, problem)) {
  const mine = api;
  const turnOf = Symbol(topic);
  asked.set(topic, turnOf);
  troubles.delete(topic);
  const isOvertaken = () => asked.get(topic) !== turnOf; // signing out overtakes everything
  showProgress();
  try {
    const answer = await question(mine);
    if (isOvertaken()) return;
    shown(answer);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (isOvertaken()) return;
    failed(problem);
  }
  asked.delete(topic);
  showProgress();
}

// A key that is not taken any more signs out. Any other failure is told and leaves what is shown,
// with the time as of which it is true.
function fail(topic, problem) {
  if (problem.signsOut) {
    signOut();
    refuse(problem.message);
  } else {
    troubles.set(topic, problem.message);
  }
}

function showProgress() {
  byId('main').setAttribute('aria-busy', String(asked.size > 0));
  byId('trouble').textContent = [...new Set(troubles.values())].join(' ');
}
