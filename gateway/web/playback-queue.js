// What is to be heard, in order and without gaps. Pure: no clock, no audio device.
//
// Every piece belongs to an item (a reply); what of each item left the queue is counted, because a
// reply that was cut is told to the provider with the milliseconds that were really played.

// Audio that is held before a reply begins, and after it ran dry: pieces come in bursts over a
// network, and a pause at the start is less of a nuisance than one in a word.
export const PREBUFFER_MS = 60;

export class PlaybackQueue {
  #items = []; // { item, played, queued, isWhole }, in samples: those that were not heard to the end
  #pieces = []; // { entry, samples }
  #offset = 0; // into the first piece
  #queued = 0; // samples
  #isHolding = true;
  #prebuffer;

  constructor(rateHz) {
    this.#prebuffer = (rateHz * PREBUFFER_MS) / 1000;
  }

  // Samples that wait.
  get queued() {
    return this.#queued;
  }

  // What was not heard to the end, as [{ item, played }]: `played` in samples, 0 of what waits. An
  // item of which more may come belongs to it, also when all that came was heard.
  get unfinished() {
    return this.#items.map(({ item, played }) => ({ item, played }));
  }

  // A piece of an item.
  push(item, samples) {
    if (samples.length === 0) return;
    const entry = this.#items.find((known) => known.item === item) ?? this.#add(item);
    entry.queued += samples.length;
    this.#queued += samples.length;
    this.#pieces.push({ entry, samples });
  }

  // Nothing more comes of these items: do not wait for the prebuffer. Returns what has ended.
  flush() {
    if (this.#queued > 0) this.#isHolding = false;
    for (const entry of this.#items) entry.isWhole = true;
    return this.#finish();
  }

  // Fills `output`, with silence where there is nothing; returns what began and what ended, as
  // [{ kind: 'started' | 'finished', item }] and { kind: 'dry' }. A start and running dry have
  // their sample in `output`, as `at`.
  pull(output) {
    output.fill(0);
    if (this.#isHolding && this.#queued < this.#prebuffer) return [];
    this.#isHolding = false;
    const happened = [];
    let filled = 0;
    while (filled < output.length && this.#pieces.length > 0) {
      const { entry, samples } = this.#pieces[0];
      if (entry.played === 0) happened.push({ kind: 'started', item: entry.item, at: filled });
      const count = Math.min(output.length - filled, samples.length - this.#offset);
      output.set(samples.subarray(this.#offset, this.#offset + count), filled);
      filled += count;
      this.#advance(entry, count, samples.length);
    }
    happened.push(...this.#finish());
    if (filled < output.length) {
      this.#isHolding = true;
      happened.push({ kind: 'dry', at: filled });
    }
    return happened;
  }

  // Silence at once. Returns what was `unfinished`.
  cut() {
    const cut = this.unfinished;
    this.#items = [];
    this.#pieces = [];
    this.#offset = this.#queued = 0;
    this.#isHolding = true;
    return cut;
  }

  #add(item) {
    const entry = { item, played: 0, queued: 0, isWhole: false };
    this.#items.push(entry);
    return entry;
  }

  #advance(entry, count, length) {
    this.#queued -= count;
    this.#offset += count;
    entry.queued -= count;
    entry.played += count;
    if (this.#offset === length) {
      this.#pieces.shift();
      this.#offset = 0;
    }
  }

  #finish() {
    const isOver = ({ isWhole, queued }) => isWhole && queued === 0;
    const finished = this.#items.filter(isOver);
    if (finished.length > 0) this.#items = this.#items.filter((entry) => !isOver(entry));
    return finished.map(({ item }) => ({ kind: 'finished', item }));
  }
}
