// How long to wait before connecting again. Pure.

export const FIRST_MS = 1_000;
export const MOST_MS = 15_000;
// A session that lasted so long was a good one: the next loss is a first one again.
export const GOOD_AFTER_MS = 10_000;

export class Backoff {
  // Attempts since a session was good.
  attempt = 0;

  // A session that lasted `lastedMs` was lost, 0: none was had. Returns the wait before the next
  // attempt; `random`, from 0 to 1, spreads it.
  lost(lastedMs, random) {
    this.attempt = lastedMs > GOOD_AFTER_MS ? 1 : this.attempt + 1;
    return delayMs(this.attempt, random);
  }
}

// The wait before attempt number `attempt`, from 1: doubled each time, up to a bound. `random`, from
// 0 to 1, spreads it by a quarter, so that all pages do not come back to a new gateway at once.
export function delayMs(attempt, random) {
  const wait = Math.min(MOST_MS, FIRST_MS * 2 ** (attempt - 1));
  return Math.round(wait * (0.75 + 0.5 * random));
}
