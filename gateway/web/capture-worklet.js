// Turns what is heard into chunks of 16-bit samples of the provider's rate, on the audio thread.
// Messages out: { pcm: Int16Array, level }. In: { stop: true }, the end.
import { peak, Resampler, toPcm16 } from './resample.js';

class Capture extends AudioWorkletProcessor {
  #resampler;
  #chunk;
  #filled = 0;
  #isStopped = false;

  constructor({ processorOptions: { rateHz, chunkMs } }) {
    super();
    this.port.onmessage = ({ data }) => {
      this.#isStopped = data.stop;
    };
    this.#resampler = new Resampler(sampleRate, rateHz);
    this.#chunk = new Float32Array((rateHz * chunkMs) / 1000);
  }

  process([channels]) {
    if (this.#isStopped) return false;
    // While nothing is connected there are no channels.
    if (channels.length > 0) this.#gather(this.#resampler.feed(channels[0]));
    return true;
  }

  #gather(samples) {
    let from = 0;
    while (from < samples.length) {
      const count = Math.min(samples.length - from, this.#chunk.length - this.#filled);
      this.#chunk.set(samples.subarray(from, from + count), this.#filled);
      from += count;
      this.#filled += count;
      if (this.#filled === this.#chunk.length) this.#send();
    }
  }

  #send() {
    const pcm = toPcm16(this.#chunk);
    this.port.postMessage({ pcm, level: peak(this.#chunk) }, [pcm.buffer]);
    this.#filled = 0;
  }
}

registerProcessor('capture', Capture);
