// Tables of what came: text is always text, whatever it holds.
import { element } from './dom.js';

// A table in a box of its own that scrolls when it must, by keyboard too.
//
// A column is {head, cell, isNumber, isMinor}: `cell` makes a row's text or node; what is minor
// gives way on a phone. The first cell of a row is its heading. `foot` are rows of sums.
export function table(caption, columns, rows, foot = []) {
  const line = (row) => element('tr', {}, ...columns.map((column, index) => element(
    index ? 'td' : 'th',
    index ? { className: classOf(column) } : { scope: 'row' },
    column.cell(row),
  )));
  const box = { role: 'group', 'aria-label': caption };
  return element('div', { className: 'scroll', tabIndex: 0, attributes: box },
    element('table', {},
      element('caption', { className: 'unseen' }, caption),
      element('thead', {}, element('tr', {}, ...columns.map((column) => (
        element('th', { scope: 'col', className: classOf(column) }, column.head)
      )))),
      element('tbody', {}, ...rows.map(line)),
      ...(foot.length ? [element('tfoot', {}, ...foot.map(line))] : [])));
}

function classOf({ isNumber, isMinor }) {
  return [isNumber && 'number', isMinor && 'minor'].filter(Boolean).join(' ');
}
