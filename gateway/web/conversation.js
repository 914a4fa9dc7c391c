// The conversation as a list of entries, made of the page's events. Pure.
//
// An entry is { id, who, before, text, isFinal, ending, latency, answer, note }: `who` is user, reply,
// tool, problem or divider, `before` the entry that it belongs before or null, `latency` in
// milliseconds or null, `answer` a tool's, `note` what it cost.

const ENDINGS = {
  cancelled: 'interrupted',
  incomplete: 'cut off',
  failed: 'failed',
};

export class Conversation {
  #entries = new Map();
  #made = 0;
  #sealed = 0; // sessions that are over: each names its items as it likes

  get entries() {
    return [...this.#entries.values()];
  }

  // Takes a page event; returns the entries that it changed.
  take(event) {
    switch (event.kind) {
      case 'user-text':
        return [this.#text('user', event)];
      case 'reply-started':
        return [this.#entry(event.id, 'reply')];
      case 'reply-text':
        return [this.#text('reply', event)];
      case 'tool-call':
        return [this.#change(this.#entry(event.id, 'tool'), {
          text: `${event.name}(${event.arguments === '{}' ? '' : event.arguments})`, isFinal: true,
        })];
      case 'usage':
        return this.#known(event.id, { note: `${event.total.toLocaleString('en')} tokens` });
      case 'reply-done':
        return event.ids.flatMap((id) => this.#known(id, {
          isFinal: true, ending: ENDINGS[event.status] ?? '',
        }));
      default:
        return [];
    }
  }

  // What the page itself adds, as one entry: `who` is user, problem or divider.
  add(who, text) {
    this.#made += 1;
    return this.#change(this.#entry(`page-${this.#made}`, who), { text, isFinal: true });
  }

  // The answer of a tool that was called.
  answer(id, text) {
    return this.#known(id, { answer: text });
  }

  // The latency of a reply, in milliseconds.
  timed(id, milliseconds) {
    return this.#known(id, { latency: milliseconds });
  }

  // The connection is gone: ids may be used again, and what is open stays as it is.
  seal() {
    const open = this.entries.filter((entry) => !entry.isFinal);
    for (const entry of open) entry.isFinal = true;
    this.#sealed += 1;
    return open;
  }

  #text(who, { id, delta, text, isFinal = false, before = null }) {
    const entry = this.#entry(id, who, before);
    const said = text ?? entry.text + (delta ?? '');
    return this.#change(entry, { text: said, isFinal: isFinal || entry.isFinal });
  }

  #entry(id, who, before = null) {
    const key = this.#key(id);
    if (!this.#entries.has(key)) {
      const made = { id: key, who, text: '', isFinal: false };
      made.before = before === null ? null : this.#key(before);
      Object.assign(made, { ending: '', latency: null, answer: '', note: '' });
      this.#entries.set(key, made);
    }
    return this.#entries.get(key);
  }

  #known(id, change) {
    const entry = this.#entries.get(this.#key(id));
    return entry ? [this.#change(entry, change)] : [];
  }

  #key(id) {
    return `${this.#sealed}/${id}`;
  }

  #change(entry, change) {
    return Object.assign(entry, change);
  }
}
