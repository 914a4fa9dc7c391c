// Charts as inline SVG. Colours come from classes; a table beside each says the same in words.

import * as format from './console-format.js';
import { named, ticks } from './console-scale.js';
import { element, svgElement } from './dom.js';

const HEIGHT = 200;
const MARGIN = { top: 8, right: 12, bottom: 24, left: 44 };
const COLUMN_MAX = 36; // few columns stay columns, and do not become blocks
const NAME_WIDTH = 72; // room for "Nov 2026" and some air
const GAP = 0.3; // of a column's step

// Stacked columns in a box that redraws them when its width changes.
export function columnChart(label, columns) {
  const box = element('div', { className: 'plot' });
  new ResizeObserver(() => {
    if (box.clientWidth === 0) return; // it was just taken off the page
    box.replaceChildren(columnsIn(box.clientWidth, label, columns));
  }).observe(box);
  return box;
}

// Two amounts as one bar, `top` being its full width. Decoration: the numbers stand beside it.
export function bar(topup, tokens, top) {
  const share = (amount) => (top > 0 ? Math.max(0, amount) / top * 100 : 0);
  return svgElement('svg', {
    class: 'share', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true',
  },
  svgElement('rect', { class: 'track', width: 100, height: 6 }),
  svgElement('rect', { class: 'topup', width: share(topup), height: 6 }),
  svgElement('rect', { class: 'tokens', x: share(topup), width: share(tokens), height: 6 }));
}

// What the colours mean.
export function legend() {
  const entry = (name, text) => element('li', {},
    svgElement('svg', { class: 'swatch', viewBox: '0 0 1 1', 'aria-hidden': 'true' },
      svgElement('rect', { class: name, width: 1, height: 1 })), text);
  return element('ul', { className: 'legend' }, entry('topup', 'Top-up'), entry('tokens', 'Subscription'));
}

function columnsIn(width, label, columns) {
  const marks = ticks(Math.max(...columns.map(({ topup, tokens }) => topup + tokens)));
  const top = marks.at(-1);
  const plot = HEIGHT - MARGIN.top - MARGIN.bottom;
  const step = (width - MARGIN.left - MARGIN.right) / columns.length;
  const thick = Math.max(1, Math.min(COLUMN_MAX, step * (1 - GAP)));
  const y = (amount) => MARGIN.top + plot * (1 - amount / top);
  const x = (index) => MARGIN.left + step * (index + 0.5);
  const part = (name, index, from, to) => svgElement('rect', {
    class: name, x: x(index) - thick / 2, y: y(to), width: thick, height: y(from) - y(to),
  });
  const names = named(columns.length, Math.max(1, Math.floor(step * columns.length / NAME_WIDTH)));
  return svgElement('svg', {
    class: 'columns', viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: 'img', 'aria-label': label,
  },
  ...marks.map((mark) => svgElement('g', { class: 'tick' },
    svgElement('line', { x1: MARGIN.left, x2: width, y1: y(mark), y2: y(mark) }),
    svgElement('text', {
      x: MARGIN.left - 8, y: y(mark), 'text-anchor': 'end', 'dominant-baseline': 'middle',
    }, format.short(mark)))),
  ...columns.map(({ key, topup, tokens }, index) => svgElement('g', { class: 'column' },
    svgElement('title', {}, `${format.period(key)}: ${format.counted(topup + tokens, 'credit', 'credits')}`),
    svgElement('rect', { class: 'reach', x: x(index) - step / 2, y: MARGIN.top, width: step, height: plot }),
    part('topup', index, 0, topup),
    part('tokens', index, topup, topup + tokens))),
  ...names.map((index) => svgElement('text', {
    class: 'name', y: HEIGHT - 6, ...anchored(x(index), width),
  }, format.shortPeriod(columns[index].key))));
}

// A name below its column, inside the picture.
function anchored(x, width) {
  const half = NAME_WIDTH / 2;
  if (x + half > width) return { x: width, 'text-anchor': 'end' };
  return x < half ? { x: 0, 'text-anchor': 'start' } : { x, 'text-anchor': 'middle' };
}
