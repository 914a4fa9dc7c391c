// Pages of a list that is read from its newest end. Pure.
//
// A page begins below a cursor, so what arrives meanwhile moves nothing. The way back is the
// cursors that led here.

export const FIRST = Object.freeze({ trail: Object.freeze([null]) });

// Below which row the page begins; null: at the newest.
export function cursor(pages) {
  return pages.trail.at(-1);
}

export function number(pages) {
  return pages.trail.length;
}

export function hasNewer(pages) {
  return pages.trail.length > 1;
}

// The page below `next`, which is what the answer named; null: there is none.
export function older(pages, next) {
  return next === null ? pages : { trail: [...pages.trail, next] };
}

export function newer(pages) {
  return hasNewer(pages) ? { trail: pages.trail.slice(0, -1) } : pages;
}
