// The resampler: rates, pitch, level, what is above the band, and pieces of any size.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fromPcm16, peak, Resampler, toPcm16 } from '../../../../gateway/web/resample.js';

const RATES = [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
const WANTED = [16_000, 24_000];

function sine(hertz, rate, seconds) {
  const count = Math.round(rate * seconds);
  return Float32Array.from({ length: count }, (_, n) => Math.sin((2 * Math.PI * hertz * n) / rate));
}

function inPieces(resampler, samples, size) {
  const made = [];
  for (let at = 0; at < samples.length; at += size) {
    made.push(...resampler.feed(samples.subarray(at, at + size)));
  }
  return Float32Array.from(made);
}

// The amplitude of one frequency (Goertzel's sum, without its trick).
function amplitude(samples, hertz, rate) {
  let [re, im] = [0, 0];
  for (const [n, x] of samples.entries()) {
    re += x * Math.cos((2 * Math.PI * hertz * n) / rate);
    im += x * Math.sin((2 * Math.PI * hertz * n) / rate);
  }
  return (2 * Math.hypot(re, im)) / samples.length;
}

for (const from of RATES) {
  for (const to of WANTED) {
    test(`${from} Hz to ${to} Hz keeps pitch, level, place and length`, () => {
      const made = new Resampler(from, to).feed(sine(440, from, 1));
      assert.ok(Math.abs(made.length - to) < to * 0.01, `${made.length} samples`);
      const inside = made.subarray(to * 0.1, to * 0.9);
      assert.ok(Math.abs(amplitude(inside, 440, to) - 1) < 0.01);
      const wanted = sine(440, to, 1).subarray(to * 0.1, to * 0.9);
      assert.ok(peak(inside.map((x, n) => x - wanted[n])) < 0.01);
    });

    test(`${from} Hz to ${to} Hz is the same in pieces of any size`, () => {
      const voice = sine(300, from, 0.25);
      const whole = new Resampler(from, to).feed(voice);
      for (const size of [1, 127, 128, 1000]) {
        assert.deepEqual(inPieces(new Resampler(from, to), voice, size), whole);
      }
    });
  }
}

test('what the new rate cannot hold is gone, not folded back', () => {
  const made = new Resampler(48_000, 16_000).feed(sine(10_000, 48_000, 0.5));
  assert.ok(peak(made.subarray(800, 7_000)) < 0.001); // 60 dB
});

test('equal rates pass through unchanged', () => {
  const voice = sine(300, 24_000, 0.1);
  const made = new Resampler(24_000, 24_000).feed(voice);
  assert.ok(made.length > 2_300);
  assert.ok(peak(made.map((x, n) => x - voice[n])) < 1e-6);
});

test('16-bit samples clip and come back', () => {
  assert.deepEqual([...toPcm16(Float32Array.of(-2, -1, 0, 0.5, 1, 2))],
    [-32767, -32767, 0, 16384, 32767, 32767]);
  assert.deepEqual([...fromPcm16(Int16Array.of(-32768, 0, 16384))], [-1, 0, 0.5]);
});
