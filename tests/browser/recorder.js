// Runs before the page's own code: keeps what goes to the loudspeakers and what the microphone
// hears, with the audio clock's frames. The gateway of the tests serves the recorder's worklet.
(() => {
  if (!window.isSecureContext) return; // there is no sound to record
  const tracks = {};
  window.recorded = {
    // All that was recorded: 16-bit samples as base64, the frame of the first, the samples of one
    // piece, and where what is heard beside it ran dry, as frames.
    track(name) {
      const { rate = 1, pieces = [] } = tracks[name] ?? {};
      const { frame = 0, samples } = pieces[0] ?? {};
      const pcm = base64(pieces.map((piece) => piece.samples));
      return { pcm, rate, frame, quantum: samples?.length ?? 1, dry: pieces.at(-1)?.dry ?? [] };
    },
    // The worklets of the page that run beside what is recorded as `name`.
    runningBeside: (name) => tracks[name]?.pieces.at(-1)?.running ?? [],
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
    await addModule.call(this, '/web/recorder-worklet.js');
    await addModule.apply(this, rest);
  };

  const { connect } = AudioNode.prototype;
  function record(name, source) {
    const { context } = source;
    const node = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0 });
    const track = { context, rate: context.sampleRate, pieces: [] };
    tracks[name] = track;
    node.port.onmessage = ({ data }) => track.pieces.push(data);
    connect.call(source, node);
  }

  // The microphone is recorded in the loudspeaker's context, too: one clock tells what came when.
  const { getUserMedia } = MediaDevices.prototype;
  MediaDevices.prototype.getUserMedia = async function getAndKeep(...rest) {
    const stream = await getUserMedia.apply(this, rest);
    window.recorded.stream = stream;
    if (tracks.speaker) {
      record('voice', new MediaStreamAudioSourceNode(tracks.speaker.context, { mediaStream: stream }));
    }
    return stream;
  };

  AudioNode.prototype.connect = function connectAndRecord(to, ...rest) {
    const isOutput = to instanceof AudioDestinationNode && this.numberOfInputs === 0;
    if (isOutput) record('speaker', this);
    if (this instanceof MediaStreamAudioSourceNode) record('microphone', this);
    return connect.call(this, to, ...rest);
  };
})();
