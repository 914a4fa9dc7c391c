// What is heard: a playback worklet at the provider's own rate, so that its samples go out as they
// came; the browser converts them for the device.

const RATE_HZ = 24_000;

export class Speaker {
  #context = null;
  #node = null;
  #listener;

  // `listener` is told { kind: 'started' | 'drained' | 'cut' | 'level', … } as the worklet says it.
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
    this.#node?.port.postMessage({ push: { item, samples: floats } }, [floats.buffer]);
  }

  // Nothing more comes for now.
  flush() {
    this.#node?.port.postMessage({ flush: true });
  }

  // Silence at once; the listener hears what of it was really played.
  cut() {
    this.#node?.port.postMessage({ cut: true });
  }

  #tell(message) {
    if (message.kind === 'cut') {
      // What has left the queue and not yet the device was not heard.
      const pendingMs = (this.#context.outputLatency ?? 0) * 1000;
      const playedMs = Math.max(0, Math.round(message.playedMs - pendingMs));
      this.#listener({ ...message, playedMs });
      return;
    }
    this.#listener(message);
  }
}
