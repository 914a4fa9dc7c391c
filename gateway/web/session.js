// One conversation with the gateway: connects, and connects again when the connection is lost.
import { Backoff } from './backoff.js';
import { sessionUrl } from './dialects.js';
import { askWhyRefused, isGatewayAlive, keyFor, Refused } from './keys.js';
import { HUNG, whyClosed, whyRefused } from './reasons.js';
import { Silence } from './silence.js';

// A gateway that does not answer within this time is taken for one that cannot be reached. It gives
// itself ten seconds to reach the provider.
const OPENING_MS = 12_000;
const CHECK_MS = 1_000;

export class Session {
  #dialect;
  #model;
  #provider;
  #pastedKey;
  #listener;
  #socket = null;
  #wake = null;
  #isStopped = false;
  #stopped;
  #tellStopped;
  #openedAt = null;
  #lastError = null;

  // `provider` is the provider's name, or '' for the dialect's own. `pastedKey` is an ephemeral key,
  // or '' to ask the demo for one. `listener` has stateChanged, opened, received, sent and silenced:
  // see below for what they are told; and isAnswerDue, which says whether the server has to say
  // something now.
  constructor({ dialect, model, provider, pastedKey }, listener) {
    this.#dialect = dialect;
    this.#model = model;
    this.#provider = provider;
    this.#pastedKey = pastedKey;
    this.#listener = listener;
    this.#stopped = new Promise((resolve) => {
      this.#tellStopped = resolve;
    });
  }

  // Runs until `stop` is called, or the session ends for a reason that trying again cannot mend.
  async run() {
    const backoff = new Backoff();
    while (!this.#isStopped) {
      this.#tell({ name: 'connecting', attempt: backoff.attempt });
      const why = await Promise.race([this.#connectOnce(), this.#stopped]);
      if (this.#isStopped) break;
      if (!why.canRetry) {
        this.#tell({ name: 'failed', why });
        return;
      }
      const lastedMs = this.#openedAt === null ? 0 : performance.now() - this.#openedAt;
      const waitMs = backoff.lost(lastedMs, Math.random());
      this.#tell({ name: 'waiting', why, attempt: backoff.attempt, waitMs });
      await this.#sleep(waitMs);
    }
    this.#tell({ name: 'idle' });
  }

  // Sends messages, in their order, while the session is open.
  send(messages) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    for (const message of messages) {
      this.#socket.send(JSON.stringify(message));
      this.#listener.sent(message);
    }
  }

  // Does not wait any longer before it connects again.
  retryNow() {
    this.#wake?.();
  }

  // Ends it, for good and at once, also when nobody answers.
  stop() {
    this.#isStopped = true;
    this.#wake?.();
    if (this.#socket !== null) leave(this.#socket);
    this.#tellStopped();
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
    const asked = { model: this.#model, provider: this.#provider, key };
    const url = sessionUrl(base, this.#dialect, asked);
    const socket = new WebSocket(url, this.#dialect.protocols(key));
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    const decoder = new TextDecoder();
    const silence = new Silence(performance.now());
    socket.onopen = () => {
      this.#openedAt = performance.now();
      silence.heard(this.#openedAt);
      this.#listener.opened();
    };
    socket.onmessage = ({ data }) => {
      silence.heard(performance.now());
      this.#listener.silenced(false);
      const text = typeof data === 'string' ? data : decoder.decode(data);
      this.#listener.received(JSON.parse(text));
    };
    const ended = new AbortController();
    const closed = await Promise.race([closeOf(socket), this.#hung(silence, ended.signal)]);
    ended.abort();
    this.#socket = null;
    if (closed === HUNG) {
      leave(socket);
      return HUNG;
    }
    if (this.#openedAt !== null) return whyClosed({ ...closed, lastError: this.#lastError });
    return whyRefused(await askWhyRefused(url, key));
  }

  // Comes to an end when the other end of an open socket hangs, or with `ended`. Browsers send no
  // pings: where something is due and nothing comes, the gateway is asked whether it is there.
  async #hung(silence, ended) {
    const isTooLong = () =>
      this.#openedAt !== null && silence.isTooLong(performance.now(), this.#listener.isAnswerDue());
    while (!ended.aborted && !this.#isStopped) {
      await pause(CHECK_MS);
      if (!isTooLong()) continue;
      const isAlive = await isGatewayAlive();
      // Perhaps it has spoken meanwhile.
      if (ended.aborted || !isTooLong()) continue;
      if (!isAlive) return HUNG;
      silence.heard(performance.now());
      this.#listener.silenced(true);
    }
    return null;
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

function pause(milliseconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

// Its closing handshake is not waited for, and what it says in spite of all is not listened to.
function leave(socket) {
  socket.onmessage = socket.onclose = null;
  socket.close(1000);
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
