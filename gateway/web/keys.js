// Where the page's key comes from, and why the gateway refused one. The page never sees a key that
// lives long: it asks the demo for an ephemeral one, or the user pastes one.

const DEMO = '/demo/client_secrets';
const PREFIX = 'ek_';
const ANSWER_MS = 10_000;
// A gateway that is well answers its probe within milliseconds.
const PROBE_MS = 5_000;

// The gateway refused a request: `status` null when there was no answer.
export class Refused extends Error {
  constructor({ status, code = null, message = '' }) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// The key for the next session: the pasted one, if it is ephemeral, or one of the demo. Throws
// `Refused`.
export async function keyFor(pastedKey) {
  if (pastedKey.startsWith(PREFIX)) return pastedKey;
  if (pastedKey) throw new Refused({ status: null, code: 'not_ephemeral' });
  const response = await ask(DEMO, { method: 'POST' });
  if (!response.ok) {
    const refusal = await refusalOf(response);
    const message = response.status === 404
      ? 'This gateway has no demo account. Paste an ephemeral key (ek_…) in the settings.'
      : refusal.message;
    throw new Refused({ ...refusal, message });
  }
  const { value } = await response.json();
  return value;
}

// Why a WebSocket was refused: a browser does not show it, so the same URL is asked without the
// upgrade, with the same key; and whether the gateway is ready where that says nothing. With a POST:
// a key may be bound to an origin, and a browser does not name the page's own with a GET.
export async function askWhyRefused(url, key) {
  const plain = [url.replace(/^ws/, 'http'), {
    method: 'POST', headers: { Authorization: `Bearer ${key}` },
  }];
  for (const [address, options] of [plain, ['/readyz', {}]]) {
    try {
      const response = await ask(address, options);
      if (!response.ok && response.status !== 426) return await refusalOf(response);
    } catch (error) {
      if (error instanceof Refused) return error;
      throw error;
    }
  }
  return { status: null };
}

// Whether a gateway answers at all.
export async function isGatewayAlive() {
  return ask('/healthz', { cache: 'no-store' }, PROBE_MS).then(() => true, () => false);
}

async function ask(address, options, deadlineMs = ANSWER_MS) {
  try {
    return await fetch(address, { ...options, signal: AbortSignal.timeout(deadlineMs) });
  } catch {
    throw new Refused({ status: null });
  }
}

async function refusalOf(response) {
  const { error = {}, detail = '' } = await response.json().catch(() => ({}));
  return {
    status: response.status, code: error.code ?? null, message: error.message ?? detail,
  };
}
