// Comes before the page's own worklets: counts those that run, notes when they ran dry, and posts
// everything that it hears, with the frame at which it begins.
const running = new Map(); // processor -> what it is registered as
const dry = []; // frames

const register = globalThis.registerProcessor;
globalThis.registerProcessor = (name, Processor) => register(name, class extends Processor {
  constructor(...rest) {
    super(...rest);
    const { port } = this;
    const post = port.postMessage.bind(port);
    port.postMessage = (message, ...more) => {
      if (message.kind === 'dry') dry.push(currentFrame + message.at);
      post(message, ...more);
    };
  }

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
      const message = { frame: currentFrame, samples, running: [...running.values()], dry: [...dry] };
      this.port.postMessage(message);
    }
    return true;
  }
});
