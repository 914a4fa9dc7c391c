// Questions to the gateway with the key of one account.
//
// The key lives in a private field of this object and nowhere else: no storage, URL or attribute.
// `close` forgets it and ends what is still being asked.

import { Problem, problemOf } from './console-problems.js';

const DEADLINE_MS = 15_000; // above the gateway's own deadline for accountd, 5 s
const SILENCE_MS = 30_000; // within a file, which waits for a restart of accountd

export class Api {
  #key;
  #fetch;
  #closing = new AbortController();

  constructor(key, { fetch = globalThis.fetch.bind(globalThis) } = {}) {
    this.#key = key;
    this.#fetch = fetch;
  }

  account() {
    return this.#json('/api/account');
  }

  keys() {
    return this.#json('/api/keys');
  }

  // The statement of a period; `by` is day, model, kind or session.
  statement(by, since) {
    return this.#json('/api/usage', { by, since });
  }

  // The charges of a period, newest first, from below the row `before` on.
  rows(since, before, limit) {
    return this.#json('/api/usage/rows', { since, before, limit });
  }

  // The charges of the period as a file, however long it is; `onProgress` hears of its bytes so far.
  async csv(since, onProgress) {
    const silence = new Silence(SILENCE_MS);
    try {
      const { body } = await this.#ask('/api/usage.csv', { since }, silence.signal);
      return await whole(read(body, (size) => {
        silence.restart();
        onProgress(size);
      }));
    } finally {
      silence.end();
    }
  }

  close() {
    this.#key = null;
    this.#closing.abort();
  }

  async #json(path, parameters) {
    return whole((await this.#ask(path, parameters)).json());
  }

  async #ask(path, parameters = {}, tooLong = AbortSignal.timeout(DEADLINE_MS)) {
    const answer = await this.#fetch(target(path, parameters), {
      headers: { Authorization: `Bearer ${this.#key}` },
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
      signal: AbortSignal.any([this.#closing.signal, tooLong]),
    }).catch(() => {
      throw new Problem('gateway_away');
    });
    if (!answer.ok) throw problemOf(answer.status, await answer.json().catch(() => null));
    return answer;
  }
}

// A signal that comes when nothing restarted it for so long.
class Silence {
  #controller = new AbortController();
  #timer;
  #ms;

  constructor(ms) {
    this.#ms = ms;
    this.restart();
  }

  get signal() {
    return this.#controller.signal;
  }

  restart() {
    this.end();
    this.#timer = setTimeout(() => this.#controller.abort(), this.#ms);
  }

  end() {
    clearTimeout(this.#timer);
  }
}

// All of a body, telling how much there is after each piece.
async function read(body, onProgress) {
  const reader = body.getReader();
  const pieces = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(pieces, { type: 'text/csv' });
    pieces.push(value);
    size += value.length;
    onProgress(size);
  }
}

// A body that is read; one that breaks off is a problem.
function whole(body) {
  return body.catch(() => {
    throw new Problem('gateway_away');
  });
}

// A path with the parameters that have a value.
export function target(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}
