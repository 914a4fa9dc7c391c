// One conversation with the gateway: connects, and connects again when the connection is lost.
import { delayMs, GOOD_AFTER_MS } from './backoff.js';
import { sessionUrl } from './dialects.js';
import { askWhyRefused, keyFor, Refused } from './keys.js';
import { whyClosed, whyRefused } from './reasons.js';

// A gateway that does not answer within this time is taken for one that cannot be reached. It gives
// itself ten seconds to reach the provider.
const OPENING_MS = 12_000;

export class Session {
  #dialect;
  #model;
  #pastedKey;
  #listener;
  #socket = null;
  #wake = null;
  #isStopped = false;
  #openedAt = null;
  #lastError = null;

  // `pastedKey` is an ephemeral key, or '' to ask the demo for one. `listener` has stateChanged,
  // opened, received and sent: see below for what they are told.
  constructor({ dialect, model, pastedKey }, listener) {
    this.#dialect = dialect;
    this.#model = model;
    this.#pastedKey = pastedKey;
    this.#listener = listener;
  }

  // Runs until `stop` is called, or the session ends for a reason that trying again cannot mend.
  async run() {
    let attempt = 0;
    while (!this.#isStopped) {
      this.#tell({ name: 'connecting', attempt });
      const why = await this.#connectOnce();
      if (this.#isStopped) break;
      if (!why.canRetry) {
        this.#tell({ name: 'failed', why });
        return;
      }
      const lastedMs = this.#openedAt === null ? 0 : performance.now() - this.#openedAt;
      attempt = lastedMs > GOOD_AFTER_MS ? 1 : attempt + 1;
      const waitMs = delayMs(attempt, Math.random());
      this.#tell({ name: 'waiting', why, attempt, waitMs });
      await this.#sleep(waitMs);
    }
    this.#tell({ name: 'idle' });
  }

  // Sends messages, in their order; false when the session is not open.
  send(messages) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    for (const message of messages) {
      this.#socket.send(JSON.stringify(message));
      this.#listener.sent(message);
    }
    return true;
  }

  // Does not wait any longer before it connects again.
  retryNow() {
    this.#wake?.();
  }

  // Ends it, for good.
  stop() {
    this.#isStopped = true;
    this.#wake?.();
    this.#socket?.close(1000);
  }

  // Why an error came, for the close that follows it.
  noteError(code) {
    this.#lastError = code;
  }

  #tell(state) {
    this.#listener.stateChanged(state);
  }

  async #connectOnce() {
    this.#openedAt = this.#lastError = null;
    try {
      const key = await keyFor(this.#pastedKey);
      return this.#isStopped ? null : await this.#live(key);
    } catch (error) {
      if (error instanceof Refused) return whyRefused(error);
      throw error;
    }
  }

  async #live(key) {
    const base = location.origin.replace(/^http/, 'ws');
    const url = sessionUrl(base, this.#dialect, { model: this.#model, key });
    const socket = new WebSocket(url, this.#dialect.protocols(key));
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    const decoder = new TextDecoder();
    socket.onopen = () => {
      this.#openedAt = performance.now();
      this.#listener.opened();
    };
    socket.onmessage = ({ data }) => {
      const text = typeof data === 'string' ? data : decoder.decode(data);
      this.#listener.received(JSON.parse(text));
    };
    const closed = await closeOf(socket);
    this.#socket = null;
    if (this.#openedAt !== null) return whyClosed({ ...closed, lastError: this.#lastError });
    return whyRefused(await askWhyRefused(url, key));
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function closeOf(socket) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      if (socket.readyState === WebSocket.CONNECTING) socket.close();
    }, OPENING_MS);
    socket.onclose = ({ code, reason }) => {
      clearTimeout(timer);
      resolve({ code, reason });
    };
  });
}
