// What is to be heard, in order and without gaps. Pure: no clock, no audio device.
//
// Every piece belongs to an item (a reply); what of each item left the queue is counted, because a
// reply that was cut is told to the provider with the milliseconds that were really played.

// Audio that is held before a reply begins, and after it ran dry: pieces come in bursts over a
// network, and a pause at the start is less of a nuisance than one in a word.
export const PREBUFFER_MS = 60;

export class PlaybackQueue {
  #pieces = []; // { item, samples }
  #offset = 0; // into the first piece
  #queued = 0; // samples
  #playedBy = new Map();
  #current = null;
  #last = null; // item that was pushed
  #cut = null;
  #isHolding = true;
  #prebuffer;

  constructor(rateHz) {
    this.#prebuffer = (rateHz * PREBUFFER_MS) / 1000;
  }

  // Samples that wait.
  get queued() {
    return this.#queued;
  }

  // A piece of an item. What still comes of an item that was cut is not wanted any more.
  push(item, samples) {
    if (item === this.#cut || samples.length === 0) return;
    this.#last = item;
    this.#pieces.push({ item, samples });
    this.#queued += samples.length;
  }

  // No more is coming for now: do not wait for the prebuffer.
  flush() {
    if (this.#queued > 0) this.#isHolding = false;
  }

  // Fills `output`, with silence where there is nothing; returns what began and what ended, as
  // [{ kind: 'started', item, at }] and { kind: 'drained' }. `at` is the sample in `output`.
  pull(output) {
    output.fill(0);
    if (this.#isHolding && this.#queued < this.#prebuffer) return [];
    this.#isHolding = false;
    const happened = [];
    let filled = 0;
    while (filled < output.length && this.#pieces.length > 0) {
      const { item, samples } = this.#pieces[0];
      if (item !== this.#current) {
        this.#current = item;
        this.#playedBy.set(item, 0);
        happened.push({ kind: 'started', item, at: filled });
      }
      const count = Math.min(output.length - filled, samples.length - this.#offset);
      output.set(samples.subarray(this.#offset, this.#offset + count), filled);
      filled += count;
      this.#advance(item, count, samples.length);
    }
    if (filled < output.length) {
      this.#isHolding = true;
      if (filled > 0) happened.push({ kind: 'drained' });
    }
    return happened;
  }

  // Silence at once. Returns { item, played } of what was being heard, `played` in samples; null
  // when everything that came had been heard.
  cut() {
    this.#cut = this.#last;
    if (this.#pieces.length === 0) return null;
    const { item } = this.#pieces[0];
    this.#pieces = [];
    this.#offset = this.#queued = 0;
    this.#isHolding = true;
    return { item, played: this.#playedBy.get(item) ?? 0 };
  }

  #advance(item, count, length) {
    this.#queued -= count;
    this.#offset += count;
    this.#playedBy.set(item, this.#playedBy.get(item) + count);
    if (this.#offset === length) {
      this.#pieces.shift();
      this.#offset = 0;
    }
  }
}
