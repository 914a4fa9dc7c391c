// What a chart needs to know before it is drawn: ticks, periods and the gaps between days. Pure.

const DAY_MS = 86_400_000;
const DAYS_MAX = 100; // columns that stay wider than a pixel or two on a phone; beyond it, months
const NICE = [1, 2, 2.5, 5, 10];

// Ticks from zero to the first nice number that is not below `top`; whole numbers, `count` steps
// at most. Credits are whole, so half a credit is no tick.
export function ticks(top, count = 4) {
  if (!(top > 0)) return [0, 1];
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, NICE.find((nice) => nice * power >= rough) * power);
  const whole = Math.ceil(step);
  const steps = Math.ceil(top / whole);
  return Array.from({ length: steps + 1 }, (_, index) => index * whole);
}

// The day (UTC) of a moment in milliseconds, as statements name it: "2026-11-25".
export function dayOf(ms) {
  return new Date(ms).toISOString().slice(0, 10);
}

// When a period of so many days began that ends with the day of `nowMs`; null days: never.
export function since(days, nowMs) {
  return days === null ? null : `${dayOf(nowMs - (days - 1) * DAY_MS)}T00:00:00Z`;
}

// Every column between the first day and the last, a day without charges too: a gap that is left
// out looks like steady use. Long stretches come as months. Groups carry {day, topup_deducted,
// token_deducted}; `first` is the day a period begins with, or null for that of the first group.
export function columns(groups, first, last) {
  const days = groups.map((group) => group.day).sort();
  const from = [first ?? days[0] ?? last, days[0] ?? last].sort()[0];
  const until = [last, days.at(-1) ?? last].sort()[1];
  const length = (Date.parse(until) - Date.parse(from)) / DAY_MS + 1;
  const nameOf = length > DAYS_MAX ? (day) => day.slice(0, 7) : (day) => day;
  const found = new Map();
  for (let ms = Date.parse(from); ms <= Date.parse(until); ms += DAY_MS) {
    const key = nameOf(dayOf(ms));
    if (!found.has(key)) found.set(key, { key, topup: 0, tokens: 0 });
  }
  for (const group of groups) {
    const column = found.get(nameOf(group.day));
    column.topup += group.topup_deducted;
    column.tokens += group.token_deducted;
  }
  return [...found.values()];
}

// Which of `count` columns are named below the axis: evenly spaced, the last one always.
export function named(count, most) {
  const step = Math.ceil(count / most);
  return Array.from({ length: count }, (_, index) => index)
    .filter((index) => (count - 1 - index) % step === 0);
}
