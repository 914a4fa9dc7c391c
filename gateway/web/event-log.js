// Every message of the connection, for developers. Pure.

// Messages that are kept: of more, the oldest go. A minute of speech both ways is about 4,000.
export const MESSAGES_MAX = 5_000;
// Longer text inside a message is shown by its length: it is audio.
const TEXT_CHARS_MAX = 400;

export class EventLog {
  #entries = [];
  #count = 0;
  #pausedAt = null;
  #frozen = null; // what is shown while it is paused

  // Notes a message: `direction` is sent or received, `at` milliseconds since the page was opened.
  add(direction, at, message) {
    this.#count += 1;
    const entry = {
      number: this.#count, direction, at: Math.round(at), type: typeOf(message),
      message: shortened(message),
    };
    this.#entries.push(entry);
    if (this.#entries.length > MESSAGES_MAX) this.#entries.shift();
  }

  get isPaused() {
    return this.#pausedAt !== null;
  }

  // Messages since the pause: they are noted, and shown when it goes on.
  get missed() {
    return this.isPaused ? this.#count - this.#pausedAt : 0;
  }

  // Shows what there is, and nothing new.
  pause() {
    this.#pausedAt = this.#count;
    this.#frozen = [...this.#entries];
  }

  resume() {
    this.#pausedAt = this.#frozen = null;
  }

  clear() {
    this.#entries = [];
    if (this.isPaused) this.#frozen = [];
  }

  // The messages that are shown, oldest first: those whose type or direction holds every word of
  // `filter`; a word after a minus must not be there.
  shown(filter = '') {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    return (this.#frozen ?? this.#entries).filter(({ direction, type }) => {
      const text = `${direction} ${type}`.toLowerCase();
      return words.every((word) => fits(text, word));
    });
  }

  // The same as JSON, to be pasted elsewhere.
  asJson(filter = '') {
    const told = this.shown(filter).map(({ direction, at, message }) => (
      { direction, at_ms: at, message }
    ));
    return JSON.stringify(told, null, 2);
  }
}

// What a message is called: OpenAI's type, or the known fields of Gemini's.
export function typeOf(message) {
  if (typeof message.type === 'string') return message.type;
  return Object.entries(message)
    .map(([name, value]) => [name, ...inner(name, value)].join('.'))
    .join(' + ');
}

function inner(name, value) {
  const isContent = ['serverContent', 'realtimeInput'].includes(name);
  return isContent ? [Object.keys(value ?? {}).join('+')].filter(Boolean) : [];
}

function fits(text, word) {
  return word.length > 1 && word.startsWith('-') ? !text.includes(word.slice(1)) : text.includes(word);
}

function shortened(value) {
  if (typeof value === 'string') {
    return value.length > TEXT_CHARS_MAX ? `… ${value.length} characters` : value;
  }
  if (Array.isArray(value)) return value.map(shortened);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, inside]) => [name, shortened(inside)]));
}
