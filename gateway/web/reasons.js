// Why something ended or was refused, in plain words. Pure.
//
// A reason is { title, detail, canRetry }: `canRetry` says whether trying again by itself makes
// sense.

const NO_CREDIT = {
  title: 'No credits left',
  detail: 'The account has used up its top-up and its subscription. Add credits, then connect again.',
  canRetry: false,
};
const EXPIRED = {
  title: 'The key has expired',
  detail: 'An ephemeral key only starts sessions for a short time. Get a new one.',
  canRetry: false,
};

const USED_UP = {
  title: 'The session has used what it may',
  detail: 'Whoever runs this gateway has limited it. Connect again for another one.',
  canRetry: false,
};

// By the code of a refusal, or of the error event before a close.
const BY_CODE = {
  insufficient_credits: NO_CREDIT,
  insufficient_quota: NO_CREDIT,
  expired_api_key: EXPIRED,
  invalid_api_key: {
    title: 'The key is not accepted',
    detail: 'It is unknown, altered, revoked or not a key of this gateway.',
    canRetry: false,
  },
  not_ephemeral: {
    title: 'This is not an ephemeral key',
    detail: 'One begins with ek_. Keep the account’s own key out of pages.',
    canRetry: false,
  },
  account_disabled: {
    title: 'The account is disabled',
    detail: 'Ask whoever runs this gateway.',
    canRetry: false,
  },
  model_not_allowed: {
    title: 'The model is not allowed',
    detail: 'This key or account may not use it. Choose another model.',
    canRetry: false,
  },
  provider_not_allowed: {
    title: 'The provider is not allowed',
    detail: 'This key or account may not use it. Choose another provider.',
    canRetry: false,
  },
  too_many_sessions: {
    title: 'Too many sessions at a time',
    detail: 'This key or account has as many as it may have. End one, or wait until one ends.',
    canRetry: true,
  },
  too_many_new_sessions: {
    title: 'Too many new sessions',
    detail: 'This key or account has begun as many as it may in a minute.',
    canRetry: true,
  },
  origin_not_allowed: {
    title: 'The key is for another page',
    detail: 'It is bound to the address of the page that it was made for. Get one for this page.',
    canRetry: false,
  },
  session_ended: {
    title: 'The session was ended',
    detail: 'Whoever runs this gateway has ended it.',
    canRetry: false,
  },
  session_length_reached: {
    title: 'The session was as long as it may be',
    detail: 'Whoever runs this gateway has limited it. Connect again for another one.',
    canRetry: false,
  },
  session_tokens_reached: USED_UP,
  session_credits_reached: USED_UP,
  spending_limit_reached: {
    title: 'The key has spent what it may',
    detail: 'It works again in its next period, or with a higher limit.',
    canRetry: false,
  },
  session_expired: {
    title: 'The session was as long as it may be',
    detail: 'The provider ends sessions after a fixed time. A new one begins.',
    canRetry: true,
  },
};

const BUSY = {
  title: 'The gateway asks to try again later',
  detail: 'It is full, or it waits for its accounts. Nothing is wrong with your key.',
  canRetry: true,
};

const BY_STATUS = {
  400: { title: 'The request was not understood', detail: '', canRetry: false },
  401: BY_CODE.invalid_api_key,
  402: NO_CREDIT,
  403: { title: 'Not allowed', detail: '', canRetry: false },
  404: { title: 'There is no such provider or page here', detail: '', canRetry: false },
  429: {
    title: 'Too many requests',
    detail: 'A limit was reached. It is tried again a little later.',
    canRetry: true,
  },
  503: { ...BUSY, title: 'The gateway is not ready' },
};

// RFC 6455 section 7.4.1 and IANA's registry.
const BY_CLOSE = {
  1000: { title: 'The session has ended', detail: '', canRetry: false },
  1001: {
    title: 'The gateway goes away',
    detail: 'It is being restarted or replaced. Another one takes over.',
    canRetry: true,
  },
  1006: {
    title: 'The connection was lost',
    detail: 'The network or the gateway went away without a word.',
    canRetry: true,
  },
  1007: { title: 'The provider did not understand', detail: '', canRetry: false },
  1008: { title: 'The session was ended by a rule', detail: '', canRetry: false },
  1009: { title: 'A message was too big', detail: '', canRetry: false },
  1011: { title: 'The provider failed', detail: 'It ended the session. It is tried again.', canRetry: true },
  1012: { title: 'The gateway restarts', detail: '', canRetry: true },
  1013: BUSY,
};

const UNREACHABLE = {
  title: 'The gateway cannot be reached',
  detail: 'It does not answer at this address. Perhaps it is being restarted.',
  canRetry: true,
};

// A session that had begun and in which nothing came any more, while something was due.
export const HUNG = {
  title: 'The gateway does not answer',
  detail: 'Nothing came from it for a while, and it does not answer when it is asked.',
  canRetry: true,
  code: null,
};
// The same, but it answers when it is asked.
export const STILL_WAITING = {
  title: 'No answer yet',
  detail: 'The gateway is there, but nothing comes: perhaps the provider takes its time. You can go'
    + ' on waiting, or connect again.',
};

// A session that had begun was closed. `code` and `reason` are the close frame's; `lastError` is the
// code of the error event before it, or null.
export function whyClosed({ code, reason, lastError }) {
  const known = BY_CODE[reason] ?? (code === 1008 || code === 1001 ? BY_CODE[lastError] : undefined);
  const found = known ?? BY_CLOSE[code] ?? { title: 'The session was closed', detail: '', canRetry: false };
  const said = reason && !known ? `“${reason}”` : '';
  return { ...found, detail: [found.detail, said].filter(Boolean).join(' '), code };
}

// A request was refused with an HTTP status and, where it is known, the gateway's code and message.
// `status` null: there was no answer at all, or the page itself refused.
export function whyRefused({ status, code = null, message = '' }) {
  const unknown = status === null ? UNREACHABLE
    : { title: 'The session was refused', detail: '', canRetry: status >= 500 };
  const found = BY_CODE[code] ?? BY_STATUS[status] ?? unknown;
  return { ...found, detail: found.detail || message, code: status };
}

// Browsers give sound to secure pages alone (Secure Contexts; getUserMedia and AudioWorklet).
export const NOT_SECURE = {
  title: 'This page needs a secure address',
  detail: 'Browsers give microphone and sound to pages on https:// and on localhost only. Open this'
    + ' page there.',
};

// The sound could not be started; `message` is the browser's.
export function whyNoSound(message) {
  return { title: 'The sound could not be started', detail: `The browser says: ${message}` };
}

// The microphone could not be opened; `name` is that of the DOMException.
export function whyNoMicrophone(name, isSecure) {
  if (!isSecure) return NOT_SECURE;
  const found = {
    NotAllowedError: {
      title: 'The microphone is blocked',
      detail: 'Allow it in the browser’s site settings, then try again. You can also send a sample.',
    },
    NotFoundError: {
      title: 'No microphone was found',
      detail: 'Connect one, or send a sample.',
    },
    NotReadableError: {
      title: 'The microphone is in use',
      detail: 'Another program holds it. Close that, or choose another device.',
    },
    OverconstrainedError: {
      title: 'That microphone is gone',
      detail: 'Choose another device.',
    },
  }[name];
  return found ?? { title: 'The microphone does not work', detail: `The browser says: ${name}.` };
}
