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

// The groups of a statement by session below a cursor, {found, next, isCut}. They come with the
// newest charge first, and by name where that is the same. A statement has the newest only: `isCut`
// says that older ones follow the last page.
export function pageOf({ groups, has_more: hasOlder }, cursor, limit) {
  const begin = cursor === null ? 0 : groups.findIndex((group) => isBelow(group, cursor));
  const found = begin < 0 ? [] : groups.slice(begin, begin + limit);
  const hasMore = found.length > 0 && begin + limit < groups.length;
  return { found, next: hasMore ? found.at(-1) : null, isCut: !hasMore && hasOlder };
}

function isBelow(group, { last_at: lastAt, session }) {
  return group.last_at < lastAt || (group.last_at === lastAt && group.session > session);
}

export function newer(pages) {
  return hasNewer(pages) ? { trail: pages.trail.slice(0, -1) } : pages;
}
