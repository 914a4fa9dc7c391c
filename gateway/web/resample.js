// One sample rate to another, piece by piece. Pure.
//
// A windowed-sinc filter, evaluated only where a sample of the new rate is due: nothing above half
// of the lower rate is left to fold back as a hiss. Equal rates pass through unchanged.

// Zero crossings on each side of the filter's middle: 60 dB less above the band (a test measures
// it), for 32 multiplications a sample, and more by the ratio of the rates when the new one is lower.
const CROSSINGS = 16;
// The filter's slope has a width: it begins so far below half of the lower rate.
const ROLLOFF = 0.92;

export class Resampler {
  #step;
  #phases;
  #taps;
  #cutoff;
  #filters;
  #held;
  #position; // of the next sample to make: in input samples from #held[0], times #phases

  // `fromHz` and `toHz` are whole numbers from 1.
  constructor(fromHz, toHz) {
    const divisor = greatestCommonDivisor(fromHz, toHz);
    this.#step = fromHz / divisor;
    this.#phases = toHz / divisor;
    this.#cutoff = toHz < fromHz ? (ROLLOFF * toHz) / fromHz : 1;
    const half = Math.ceil(CROSSINGS / this.#cutoff);
    this.#taps = 2 * half;
    this.#filters = Array.from({ length: this.#phases }, () => null);
    // The filter looks ahead: the first sample that comes out is the first that went in.
    this.#held = new Float32Array(half - 1);
    this.#position = 0;
  }

  // Takes samples from -1 to 1; returns those of the new rate that are due.
  feed(samples) {
    const all = new Float32Array(this.#held.length + samples.length);
    all.set(this.#held);
    all.set(samples, this.#held.length);
    const made = [];
    let first = Math.floor(this.#position / this.#phases);
    while (first + this.#taps <= all.length) {
      made.push(this.#at(all, first, this.#position % this.#phases));
      this.#position += this.#step;
      first = Math.floor(this.#position / this.#phases);
    }
    const kept = Math.min(first, all.length);
    this.#held = all.slice(kept);
    this.#position -= kept * this.#phases;
    return Float32Array.from(made);
  }

  #at(samples, first, phase) {
    const filter = (this.#filters[phase] ??= makeFilter(
      this.#taps, this.#cutoff, phase / this.#phases,
    ));
    let sum = 0;
    for (let n = 0; n < filter.length; n += 1) sum += filter[n] * samples[first + n];
    return sum;
  }
}

// 16-bit samples of samples from -1 to 1; what is beyond is clipped.
export function toPcm16(samples) {
  return Int16Array.from(samples, (x) => Math.round(Math.max(-1, Math.min(1, x)) * 0x7fff));
}

// The reverse.
export function fromPcm16(samples) {
  return Float32Array.from(samples, (x) => x / 0x8000);
}

// The loudest of the samples, from 0 to 1.
export function peak(samples) {
  return samples.reduce((loudest, x) => Math.max(loudest, Math.abs(x)), 0);
}

function makeFilter(taps, cutoff, fraction) {
  const half = taps / 2;
  const filter = Float32Array.from({ length: taps }, (_, n) => {
    const distance = n - (half - 1) - fraction;
    const window = 0.5 + 0.5 * Math.cos((Math.PI * distance) / half);
    return cutoff * sinc(cutoff * distance) * window;
  });
  const gain = filter.reduce((sum, x) => sum + x, 0);
  return filter.map((x) => x / gain);
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
