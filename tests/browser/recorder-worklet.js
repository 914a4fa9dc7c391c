// Comes before the page's own worklets: counts those that run, and posts everything that it hears,
// with the frame at which it begins.
const running = new Map(); // processor -> what it is registered as

const register = globalThis.registerProcessor;
globalThis.registerProcessor = (name, Processor) => register(name, class extends Processor {
  process(...rest) {
    const goesOn = super.process(...rest);
    if (goesOn) running.set(this, name);
    else running.delete(this);
    return goesOn;
  }
});

register('recorder', class extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length > 0) {
      const samples = channels[0].slice();
      this.port.postMessage({ frame: currentFrame, samples, running: [...running.values()] });
    }
    return true;
  }
});
