// What went wrong, in plain words. Pure.

// The key of an account, as accountctl makes it.
const KEY = /^rslive_v1_[0-9a-f]{48}$/;

const SIGNS_OUT = new Set(['invalid_api_key', 'expired_api_key']);

const WORDS = {
  invalid_api_key: 'This key is not known here, or it was revoked. Check that it is complete.',
  expired_api_key: 'This key has expired. Ask your operator for a new one.',
  gateway_away: 'The gateway cannot be reached. Check your connection and try again.',
  service_unavailable: 'The accounts service is away for the moment. Your credits are safe; try again shortly.',
  too_many_requests: 'Too many requests. Wait a moment and try again.',
};

// A failure that a person can be told about; `code` is for programs.
export class Problem extends Error {
  constructor(code, detail = '') {
    super(WORDS[code] ?? `The gateway could not answer: ${detail || code}`);
    this.code = code;
  }

  get signsOut() {
    return SIGNS_OUT.has(this.code);
  }
}

// Why a key need not even be sent, or null. `key` is trimmed.
export function keyTrouble(key) {
  if (!key) return 'Paste the API key of your account.';
  if (key.startsWith('ek_')) return 'This is an ephemeral key: it opens one session only. Use your account\u2019s own key.';
  if (!KEY.test(key)) return 'This does not look like a key: it is rslive_v1_ and 48 hexadecimal digits.';
  return null;
}

// Why the account cannot open sessions, or nothing. It may still look.
export function noticeOf({ status, topup_remaining: topup, token_remaining: tokens }) {
  if (status !== 'active') return 'This account is disabled: new sessions are refused. Ask your operator to enable it again.';
  if (topup + tokens <= 0) return 'No credits left: new sessions are refused until the account is topped up.';
  return '';
}

// The problem that an HTTP answer tells of; `body` is its JSON, or null.
export function problemOf(status, body) {
  const error = body?.error ?? {};
  if (WORDS[error.code]) return new Problem(error.code);
  if (status === 429) return new Problem('too_many_requests');
  if (status === 502 || status === 503 || status === 504) return new Problem('service_unavailable');
  return new Problem(error.code ?? `http_${status}`, error.message);
}
