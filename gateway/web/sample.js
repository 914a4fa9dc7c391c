// A greeting for those without a microphone: made here, so that nothing is loaded. Pure.

const NOTES_HZ = [196, 247, 294, 247];
const NOTE_MS = 320;
const FADE_MS = 30;
const LOUDNESS = 0.28;
// A voice has overtones; each is this much softer than the one below.
const OVERTONES = [1, 0.5, 0.25, 0.12];

export const SAMPLE_MS = NOTES_HZ.length * NOTE_MS;
// What follows it: longer than a voice detector waits until it takes the speech for ended.
export const SILENCE_MS = 800;

// Four hummed notes and the silence after them, as samples from -1 to 1.
export function makeSample(rateHz) {
  const perMs = rateHz / 1000;
  const samples = new Float32Array(Math.round((SAMPLE_MS + SILENCE_MS) * perMs));
  for (const [number, hertz] of NOTES_HZ.entries()) {
    const start = Math.round(number * NOTE_MS * perMs);
    const count = Math.round(NOTE_MS * perMs);
    for (let n = 0; n < count; n += 1) {
      const edge = Math.min(n, count - n) / (FADE_MS * perMs);
      samples[start + n] = LOUDNESS * Math.min(1, edge) * hum((hertz * n) / rateHz);
    }
  }
  return samples;
}

function hum(cycles) {
  return OVERTONES.reduce(
    (sum, gain, n) => sum + gain * Math.sin(2 * Math.PI * (n + 1) * cycles), 0,
  );
}
