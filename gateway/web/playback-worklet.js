// Plays the queue on the audio thread. Messages in: { push: { item, samples } }, { flush: true },
// { cut: number }. Out: what the queue says happened, { kind: 'cut', number, unfinished } and
// { kind: 'level', level, unfinished }: [{ item, playedMs }], rounded down, as a provider takes no
// end behind the end.
import { PlaybackQueue } from './playback-queue.js';
import { peak } from './resample.js';

const LEVEL_EVERY_MS = 50;

class Playback extends AudioWorkletProcessor {
  #queue = new PlaybackQueue(sampleRate);
  #level = 0;
  #silentFor = 0; // samples since the level was told

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#take(data);
  }

  process(_inputs, [[output]]) {
    this.#tell(this.#queue.pull(output));
    this.#level = Math.max(this.#level, peak(output));
    this.#silentFor += output.length;
    if (this.#silentFor >= (sampleRate * LEVEL_EVERY_MS) / 1000) {
      const unfinished = inMilliseconds(this.#queue.unfinished);
      this.port.postMessage({ kind: 'level', level: this.#level, unfinished });
      this.#silentFor = this.#level = 0;
    }
    return true;
  }

  #take({ push, flush, cut }) {
    if (push) this.#queue.push(push.item, push.samples);
    if (flush) this.#tell(this.#queue.flush());
    if (cut === undefined) return;
    const unfinished = inMilliseconds(this.#queue.cut());
    this.port.postMessage({ kind: 'cut', number: cut, unfinished });
  }

  #tell(happened) {
    for (const one of happened) this.port.postMessage(one);
  }
}

function inMilliseconds(unfinished) {
  return unfinished.map(({ item, played }) => (
    { item, playedMs: Math.floor((played * 1000) / sampleRate) }
  ));
}

registerProcessor('playback', Playback);
