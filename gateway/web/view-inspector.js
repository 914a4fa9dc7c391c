// Every message, for developers: filter, pause, copy as JSON.
import { byId, element } from './dom.js';
import { EventLog } from './event-log.js';

// Rows that are drawn: the newest ones; copying takes all.
const ROWS_MAX = 150;
// Drawn at most so often: speech is a hundred messages a second.
const DRAW_MS = 200;
const COPIED_MS = 2_000;

export class InspectorView {
  #log = new EventLog();
  #panel = byId('inspector');
  #rows = byId('inspector-rows');
  #filter = byId('inspector-filter');
  #pause = byId('inspector-pause');
  #copy = byId('inspector-copy');
  #count = byId('inspector-count');
  #drawn = new Map();
  #timer = null;

  constructor() {
    this.#panel.addEventListener('toggle', () => this.#changed());
    this.#filter.addEventListener('input', () => this.#changed());
    this.#pause.addEventListener('click', () => this.#togglePause());
    this.#copy.addEventListener('click', () => this.#copyAll());
    byId('inspector-clear').addEventListener('click', () => {
      this.#log.clear();
      this.#changed();
    });
  }

  // Notes a message that was sent or received.
  add(direction, message) {
    this.#log.add(direction, performance.now(), message);
    this.#changed();
  }

  #changed() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      if (this.#panel.open) this.#draw();
    }, DRAW_MS);
  }

  #draw() {
    const shown = this.#log.shown(this.#filter.value);
    const newest = shown.slice(-ROWS_MAX);
    const rows = new Map(newest.map((entry) => (
      [entry.number, this.#drawn.get(entry.number) ?? row(entry)]
    )));
    this.#drawn = rows;
    const isAtEnd = this.#rows.scrollHeight - this.#rows.scrollTop - this.#rows.clientHeight < 40;
    this.#rows.replaceChildren(...rows.values());
    if (isAtEnd) this.#rows.scrollTop = this.#rows.scrollHeight;
    const missed = this.#log.missed > 0 ? `, ${this.#log.missed} since the pause` : '';
    this.#count.textContent = `${shown.length} messages${missed}`;
  }

  #togglePause() {
    if (this.#log.isPaused) this.#log.resume();
    else this.#log.pause();
    this.#pause.setAttribute('aria-pressed', String(this.#log.isPaused));
    this.#changed();
  }

  async #copyAll() {
    const text = this.#log.asJson(this.#filter.value);
    const label = this.#copy.textContent;
    const isCopied = await navigator.clipboard.writeText(text).then(() => true, () => false);
    this.#copy.textContent = isCopied ? 'Copied' : 'The browser does not allow it';
    setTimeout(() => {
      this.#copy.textContent = label;
    }, COPIED_MS);
  }
}

function row({ direction, at, type, message }) {
  const arrow = direction === 'sent' ? '↑' : '↓';
  const made = element('details', { className: 'message', dataset: { direction } },
    element('summary', {},
      element('span', { className: 'message-at' }, (at / 1000).toFixed(2)),
      element('span', { attributes: { 'aria-label': direction, role: 'img' } }, arrow),
      element('span', { className: 'message-type' }, type)));
  // The text is made when it is asked for: hardly any is.
  made.addEventListener('toggle', () => {
    if (made.children.length > 1) return;
    made.append(element('pre', { tabIndex: 0 }, JSON.stringify(message, null, 2)));
  });
  return made;
}
