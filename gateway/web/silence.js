// How long nothing came from the server while something was due. Pure; times are in milliseconds.
//
// A connection whose other end hangs looks like a quiet one, and a page cannot send pings. Providers
// begin to answer within seconds; so long nobody waits without wondering.
export const SILENCE_MS = 10_000;

export class Silence {
  #since;

  constructor(now) {
    this.#since = now;
  }

  // Something came.
  heard(now) {
    this.#since = now;
  }

  // Whether it is too long by now. While nothing `isDue`, silence means nothing.
  isTooLong(now, isDue) {
    if (!isDue) this.#since = now;
    return now - this.#since >= SILENCE_MS;
  }
}
