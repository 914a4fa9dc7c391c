// Where the page's key comes from, and why the gateway refused one. The page never sees a key that
// lives long: it asks the demo for an ephemeral one, or the user pastes one.

const DEMO = '/demo/client_secrets';
const PREFIX = 'ek_';
const ANSWER_MS = 10_000;

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
// upgrade, with the same key; and whether the gateway is ready where that says nothing.
export async function askWhyRefused(url, key) {
  const plain = url.replace(/^ws/, 'http');
  for (const [address, headers] of [[plain, { Authorization: `Bearer ${key}` }], ['/readyz', {}]]) {
    try {
      const response = await ask(address, { headers });
      if (!response.ok && response.status !== 426) return await refusalOf(response);
    } catch (error) {
      if (error instanceof Refused) return error;
      throw error;
    }
  }
  return { status: null };
}

async function ask(address, options) {
  try {
    return await fetch(address, { ...options, signal: AbortSignal.timeout(ANSWER_MS) });
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
