// How the console writes numbers and moments. Pure. Moments are UTC, as statements are.

const WHOLE = new Intl.NumberFormat('en-US');
const SHORT = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 });
const DAY = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC',
});
const DAY_OF_YEAR = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const MONTH = new Intl.DateTimeFormat('en-GB', { month: 'short', year: 'numeric', timeZone: 'UTC' });
const TIME = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit', minute: '2-digit', timeZone: 'UTC',
});
const MINUS = '\u2212';

export const NONE = '\u2013';

// All digits, grouped; the sign is a real minus.
export function whole(number) {
  return WHOLE.format(number).replace('-', MINUS);
}

// At most one decimal and a letter: 1.2K, 3M.
export function short(number) {
  return SHORT.format(number).replace('-', MINUS);
}

// A change: it has a sign unless it is zero.
export function signed(number) {
  return number > 0 ? `+${whole(number)}` : whole(number);
}

// One word for one, another for every other count.
export function counted(number, one, many) {
  return `${whole(number)} ${number === 1 ? one : many}`;
}

// The moment that is stored, or null. The original system wrote some with a space for the T and
// without a zone; both are UTC.
export function parseMoment(stored) {
  if (!stored) return null;
  const joined = stored.trim().replace(' ', 'T');
  const hasZone = /(?:Z|[+-]\d\d:?\d\d)$/i.test(joined) || !joined.includes('T');
  const moment = new Date(hasZone ? joined : `${joined}Z`);
  return Number.isNaN(moment.getTime()) ? null : moment;
}

// Day and time of what is stored; what cannot be read is shown as it is.
export function moment(stored) {
  const found = parseMoment(stored);
  return found ? `${DAY.format(found)}, ${TIME.format(found)}` : stored || NONE;
}

// "2026-11-25" as a day, "2026-11" as a month.
export function period(key) {
  return periodIn(DAY, key);
}

// The same for an axis: its days are near each other, and need no year.
export function shortPeriod(key) {
  return periodIn(DAY_OF_YEAR, key);
}

function periodIn(dayFormat, key) {
  const isMonth = key.length === '2026-11'.length;
  const found = parseMoment(isMonth ? `${key}-01` : key);
  return found ? (isMonth ? MONTH : dayFormat).format(found) : key;
}
