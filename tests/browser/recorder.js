// Runs before the page's own code: keeps what goes to the loudspeakers and what the microphone
// hears, with the audio clock's frames. The gateway of the tests serves the recorder's worklet.
(() => {
  if (!window.isSecureContext) return; // there is no sound to record
  const tracks = {};
  window.recorded = {
    // One piece of audio after the other: { samples, startsAt }, in milliseconds of the page's clock.
    track(name) {
      const { rate, pieces, offset } = tracks[name] ?? { pieces: [] };
      if (pieces.length === 0) return { samples: [], startsAt: 0, rate: rate ?? 0 };
      const samples = pieces.flatMap((piece) => Array.from(piece.samples));
      return { samples, rate, startsAt: offset + (pieces[0].frame * 1000) / rate };
    },
    forget() {
      for (const track of Object.values(tracks)) track.pieces = [];
    },
  };

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
