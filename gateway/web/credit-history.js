// What the account has had left, since the page was opened. Pure. Credits are whole numbers.

// Points that the chart keeps: of more, the oldest go.
const POINTS_MAX = 600;

export class CreditHistory {
  #points = [];
  #fullTopup = 0;
  #fullTokens = 0;
  #here = { usages: 0, tokens: 0 };

  // { at, topup, tokens }, oldest first; `at` in milliseconds of any clock that only goes on.
  get points() {
    return this.#points;
  }

  // { usages, tokens } that this page used since the balance fell last. What falls is the balance
  // of the account, whoever uses it: so much may be in the next fall, and not all of it must be.
  get here() {
    return this.#here;
  }

  // Something here has used so many tokens.
  used(tokens) {
    this.#here = {
      usages: this.#here.usages + 1, tokens: this.#here.tokens + tokens,
    };
  }

  // The gateway told what is left. Returns { topup, tokens, total, here }: what was taken from the
  // account since it told the last time (less than 0: added), and what was used here until then.
  // Null: nothing changed.
  take(at, { topup, tokens }) {
    const before = this.#points.at(-1);
    this.#fullTopup = Math.max(this.#fullTopup, topup);
    this.#fullTokens = Math.max(this.#fullTokens, tokens);
    if (before?.topup === topup && before.tokens === tokens) return null;
    this.#points.push({ at, topup, tokens });
    if (this.#points.length > POINTS_MAX) this.#points.shift();
    if (before === undefined) return null;
    const change = { topup: before.topup - topup, tokens: before.tokens - tokens };
    const total = change.topup + change.tokens;
    const here = this.#here;
    if (total > 0) this.#here = { usages: 0, tokens: 0 };
    return { ...change, total, here };
  }

  // How full each bar is, from 0 to 1: of the most that it held since the page was opened.
  get bars() {
    const { topup = 0, tokens = 0 } = this.#points.at(-1) ?? {};
    return { topup: share(topup, this.#fullTopup), tokens: share(tokens, this.#fullTokens) };
  }
}

function share(value, full) {
  return full > 0 ? Math.max(0, Math.min(1, value / full)) : 0;
}

// The SVG path of a falling staircase in a box of `width` by `height`, over all points up to `now`.
// The box's foot is the lowest sum and its top the highest: a fall of a few credits is to be seen.
export function chartPath(points, now, width, height) {
  if (points.length === 0) return '';
  const sums = points.map(({ topup, tokens }) => topup + tokens);
  const [low, high] = [Math.min(...sums), Math.max(...sums)];
  const start = points[0].at;
  const x = (at) => round(((at - start) / Math.max(1, now - start)) * width);
  const y = (sum) => round(high === low ? height / 2 : ((high - sum) / (high - low)) * height);
  const steps = sums.slice(1).map((sum, n) => `H${x(points[n + 1].at)}V${y(sum)}`);
  return `M0 ${y(sums[0])}${steps.join('')}H${round(width)}`;
}

function round(value) {
  return Math.round(value * 10) / 10;
}
