// Runs before the page's own code: keeps what goes to the loudspeakers and what the microphone
// hears, with the audio clock's frames. The gateway of the tests serves the recorder's worklet.
(() => {
  if (!window.isSecureContext) return; // there is no sound to record
  const tracks = {};
  window.recorded = {
    // All that was recorded: 16-bit samples as base64, and when they began, in milliseconds of the
    // page's clock.
    track(name) {
      const { rate = 1, pieces = [], offset = 0 } = tracks[name] ?? {};
      const startsAt = offset + ((pieces[0]?.frame ?? 0) * 1000) / rate;
      return { pcm: base64(pieces.map(({ samples }) => samples)), rate, startsAt };
    },
  };

  function base64(pieces) {
    let text = '';
    for (const piece of pieces) {
      const samples = Int16Array.from(piece, (x) => Math.round(Math.min(x, 0.99999) * 0x8000));
      text += String.fromCharCode(...new Uint8Array(samples.buffer));
    }
    return btoa(text);
  }

  const addModule = Worklet.prototype.addModule;
  Worklet.prototype.addModule = async function add(...rest) {
    await addModule.apply(this, rest);
    await addModule.call(this, '/web/recorder-worklet.js');
  };

  function record(name, source) {
    const { context } = source;
    const node = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0 });
    const track = { rate: context.sampleRate, pieces: [], offset: Infinity };
    tracks[name] = track;
    node.port.onmessage = ({ data }) => {
      // The message comes late by an unknown time: the earliest is the nearest to the truth.
      const heard = ((data.frame + data.samples.length) * 1000) / context.sampleRate;
      track.offset = Math.min(track.offset, performance.now() - heard);
      track.pieces.push(data);
    };
    connect.call(source, node);
  }

  const { getUserMedia } = MediaDevices.prototype;
  MediaDevices.prototype.getUserMedia = async function getAndKeep(...rest) {
    window.recorded.stream = await getUserMedia.apply(this, rest);
    return window.recorded.stream;
  };

  const { connect } = AudioNode.prototype;
  AudioNode.prototype.connect = function connectAndRecord(to, ...rest) {
    const isOutput = to instanceof AudioDestinationNode && this.numberOfInputs === 0;
    if (isOutput) record('speaker', this);
    if (this instanceof MediaStreamAudioSourceNode) record('microphone', this);
    return connect.call(this, to, ...rest);
  };
})();
