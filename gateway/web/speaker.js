// What is heard: a playback worklet at the provider's own rate, so that its samples go out as they
// came; the browser converts them for the device.

const RATE_HZ = 24_000;
// The audio thread answers within milliseconds, on a busy machine within a tenth of a second. One
// that does not is given up: what is to be sent waits for its answer.
const CUT_ANSWER_MS = 500;

export class Speaker {
  #context = null;
  #node = null;
  #listener;
  #unfinished = new Map(); // item -> milliseconds of it that were played, as they were told last
  #cuts = 0;
  #answers = new Map(); // number of a cut -> what takes its answer

  // `listener` is told { kind: 'started' | 'finished', item }, { kind: 'dry' } and
  // { kind: 'level', level } as the worklet says it.
  constructor(listener) {
    this.#listener = listener;
  }

  // Opens the device. Browsers want a click before.
  async start() {
    if (this.#context === null) {
      this.#context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: 'interactive' });
      await this.#context.audioWorklet.addModule('/web/playback-worklet.js');
      this.#node = new AudioWorkletNode(this.#context, 'playback', {
        numberOfInputs: 0, outputChannelCount: [1],
      });
      this.#node.port.onmessage = ({ data }) => this.#tell(data);
      this.#node.connect(this.#context.destination);
    }
    await this.#context.resume();
  }

  // Queues 16-bit samples of an item.
  push(item, samples) {
    const floats = Float32Array.from(samples, (x) => x / 0x8000);
    if (!this.#unfinished.has(item)) this.#unfinished.set(item, 0);
    this.#node.port.postMessage({ push: { item, samples: floats } }, [floats.buffer]);
  }

  // Nothing more comes of what was pushed.
  flush() {
    this.#node.port.postMessage({ flush: true });
  }

  // Silence at once. Gives what was not played to its end, as [{ item, playedMs }]: exactly what left
  // the worklet, all of which is heard; what was told last when it does not answer.
  cut() {
    const told = [...this.#unfinished].map(([item, playedMs]) => ({ item, playedMs }));
    this.#unfinished.clear();
    if (this.#node === null) return Promise.resolve(told);
    const number = (this.#cuts += 1);
    this.#node.port.postMessage({ cut: number });
    return new Promise((resolve) => {
      const answer = (unfinished) => {
        clearTimeout(timer);
        this.#answers.delete(number);
        resolve(unfinished);
      };
      const timer = setTimeout(answer, CUT_ANSWER_MS, told);
      this.#answers.set(number, answer);
    });
  }

  #tell(message) {
    const { kind, item, unfinished = [] } = message;
    if (kind === 'cut') {
      this.#answers.get(message.number)?.(unfinished);
      return;
    }
    for (const { item: known, playedMs } of unfinished) {
      if (this.#unfinished.has(known)) this.#unfinished.set(known, playedMs);
    }
    if (kind === 'finished') this.#unfinished.delete(item);
    this.#listener(message);
  }
}
