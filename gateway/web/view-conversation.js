// The conversation as bubbles. Only what is finished is read out by a screen reader: a transcript
// that grows by a word at a time would be read a word at a time.
import { byId, element } from './dom.js';

const NAMES = { user: 'You', reply: 'Voice', tool: 'Tool', problem: 'Problem', divider: '' };
const WAITING = '…';
// Nearer to the end than this, the list follows what is new.
const FOLLOW_PX = 120;

export class ConversationView {
  #list = byId('bubbles');
  #empty = byId('bubbles-empty');
  #announcer = byId('announcer');
  #shown = new Map();
  #isFollowing = true;

  constructor() {
    this.#list.addEventListener('scroll', () => {
      this.#isFollowing = this.#isAtEnd();
    });
    // A notice above it takes of its height: what is newest stays in sight.
    new ResizeObserver(() => this.#follow()).observe(this.#list);
  }

  // Shows entries that are new or have changed.
  show(entries) {
    for (const entry of entries) this.#show(entry);
  }

  // Says a line to screen readers alone.
  announce(text) {
    this.#announcer.textContent = text;
  }

  #show(entry) {
    this.#empty.hidden = true;
    const bubble = this.#shown.get(entry.id) ?? this.#make(entry);
    bubble.text.textContent = entry.text || WAITING;
    bubble.note.textContent = [
      entry.ending, entry.answer,
      entry.latency === null ? '' : `first sound after ${entry.latency} ms`, entry.note,
    ].filter(Boolean).join(' · ');
    bubble.item.classList.toggle('is-live', !entry.isFinal);
    if (entry.isFinal && !bubble.isAnnounced && entry.text) {
      bubble.isAnnounced = true;
      if (entry.who !== 'divider') this.announce(`${NAMES[entry.who]}: ${entry.text}`);
    }
    this.#follow();
  }

  #follow() {
    if (this.#isFollowing) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #make({ id, who, before }) {
    const text = element('p', { className: 'bubble-text' });
    const note = element('p', { className: 'bubble-note' });
    const name = element('p', { className: 'bubble-name' }, NAMES[who]);
    const item = element('li', { className: 'bubble', dataset: { who } }, name, text, note);
    const bubble = { item, text, note, isAnnounced: false };
    this.#shown.set(id, bubble);
    this.#list.insertBefore(item, this.#shown.get(before)?.item ?? null);
    return bubble;
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < FOLLOW_PX;
  }
}
