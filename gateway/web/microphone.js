// What is said: the microphone, or the sample in its place, through the capture worklet.
import { makeSample } from './sample.js';

// What telephony uses: short enough that an interruption is heard at once.
const CHUNK_MS = 20;

export class Microphone {
  #context = null;
  #node = null;
  #stream = null;
  #source = null;
  #opening = null; // the latest question for a device
  #sample = null;
  #rateHz = null;
  #listener;

  // `listener` is told { pcm, level } for every chunk, and { ended: true } when the device is gone.
  constructor(listener) {
    this.#listener = listener;
  }

  get isOn() {
    return this.#stream !== null;
  }

  get isPlayingSample() {
    return this.#sample !== null;
  }

  get #input() {
    return this.#sample ?? this.#source;
  }

  // Prepares chunks of this rate. Browsers want a click before.
  async start(rateHz) {
    if (this.#context === null) {
      this.#context = new AudioContext({ latencyHint: 'interactive' });
      await this.#context.audioWorklet.addModule('/web/capture-worklet.js');
    }
    await this.#context.resume();
    if (rateHz === this.#rateHz) return;
    this.#retire();
    this.#rateHz = rateHz;
    this.#node = new AudioWorkletNode(this.#context, 'capture', {
      numberOfOutputs: 1, channelCount: 1, channelCountMode: 'explicit',
      processorOptions: { rateHz, chunkMs: CHUNK_MS },
    });
    this.#node.port.onmessage = ({ data }) => this.#listener(data);
    // A node that leads nowhere is not run; what it puts out is silence.
    this.#node.connect(this.#context.destination);
    this.#input?.connect(this.#node);
  }

  // Ends the worklet of another rate. One that is only let go of runs for ever.
  #retire() {
    if (this.#node === null) return;
    this.#input?.disconnect();
    this.#node.port.onmessage = null;
    this.#node.port.postMessage({ stop: true });
    this.#node.disconnect();
  }

  // Listens to a device ('' is the browser's choice); throws the browser's DOMException. One that
  // is given after `close`, or after another one was asked for, is not listened to.
  async open(deviceId) {
    this.close();
    if (!navigator.mediaDevices) throw new DOMException('no secure page', 'SecurityError');
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    if (deviceId) audio.deviceId = { exact: deviceId };
    const opening = Symbol(deviceId);
    this.#opening = opening;
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    if (this.#opening !== opening) {
      stopTracks(stream);
      return;
    }
    this.#stream = stream;
    this.#stream.getAudioTracks()[0].onended = () => {
      this.close();
      this.#listener({ ended: true });
    };
    this.#source = this.#context.createMediaStreamSource(this.#stream);
    if (!this.isPlayingSample) this.#source.connect(this.#node);
  }

  // Listens no more.
  close() {
    if (this.#stream) stopTracks(this.#stream);
    this.#source?.disconnect();
    this.#stream = this.#source = this.#opening = null;
  }

  // Plays the sample into the worklet, in the microphone's place, and waits until it is over.
  async playSample() {
    if (this.isPlayingSample) return;
    const samples = makeSample(this.#context.sampleRate);
    const buffer = this.#context.createBuffer(1, samples.length, this.#context.sampleRate);
    buffer.copyToChannel(samples, 0);
    this.#sample = new AudioBufferSourceNode(this.#context, { buffer });
    this.#source?.disconnect();
    this.#sample.connect(this.#node);
    await new Promise((resolve) => {
      this.#sample.onended = resolve;
      this.#sample.start();
    });
    this.#sample.disconnect();
    this.#sample = null;
    this.#source?.connect(this.#node);
  }

  // The devices that there are, as { id, label }; labels need a permission that was given.
  static async devices() {
    const found = await (navigator.mediaDevices?.enumerateDevices() ?? []);
    return found
      .filter(({ kind, deviceId }) => kind === 'audioinput' && deviceId !== '')
      .map(({ deviceId: id, label }, n) => ({ id, label: label || `Microphone ${n + 1}` }));
  }
}

function stopTracks(stream) {
  for (const track of stream.getTracks()) track.stop();
}
