// Posts everything that it hears, with the frame at which it begins.
class Recorder extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length > 0) {
      this.port.postMessage({ frame: currentFrame, samples: channels[0].slice() });
    }
    return true;
  }
}

registerProcessor('recorder', Recorder);
