// Plays the queue on the audio thread. Messages in: { push: { item, samples } }, { flush: true },
// { cut: true }. Out: what the queue says happened, { kind: 'cut', item, playedMs } and the level.
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
    for (const happened of this.#queue.pull(output)) this.port.postMessage(happened);
    this.#level = Math.max(this.#level, peak(output));
    this.#silentFor += output.length;
    if (this.#silentFor >= (sampleRate * LEVEL_EVERY_MS) / 1000) {
      this.port.postMessage({ kind: 'level', level: this.#level });
      this.#silentFor = this.#level = 0;
    }
    return true;
  }

  #take({ push, flush, cut }) {
    if (push) this.#queue.push(push.item, push.samples);
    if (flush) this.#queue.flush();
    if (!cut) return;
    const found = this.#queue.cut();
    if (found === null) return;
    const playedMs = Math.round((found.played * 1000) / sampleRate);
    this.port.postMessage({ kind: 'cut', item: found.item, playedMs });
  }
}

registerProcessor('playback', Playback);
