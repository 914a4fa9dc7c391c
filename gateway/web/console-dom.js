// Elements by DOM calls: text is always text, whatever it holds, and nothing is inline.

const SVG = 'http://www.w3.org/2000/svg';

// An element with attributes and children; a child that is no node becomes text.
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function drawing(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

// A table in a box of its own that scrolls when it must, by keyboard too.
//
// A column is {head, cell, isNumber, isMinor}: `cell` makes a row's text or node; what is minor
// gives way on a phone. The first cell of a row is its heading.
export function table(caption, columns, rows, foot = []) {
  const line = (row) => element('tr', {}, ...columns.map((column, index) => element(
    index ? 'td' : 'th',
    index ? { class: kind(column) } : { scope: 'row', class: kind(column) },
    column.cell(row),
  )));
  return element('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    element('table', {},
      element('caption', { class: 'unseen' }, caption),
      element('thead', {}, element('tr', {}, ...columns.map((column) => (
        element('th', { scope: 'col', class: kind(column) }, column.head)
      )))),
      element('tbody', {}, ...rows.map(line)),
      ...(foot.length ? [element('tfoot', {}, ...foot.map(line))] : [])));
}

function kind({ isNumber, isMinor }) {
  return [isNumber && 'number', isMinor && 'minor'].filter(Boolean).join(' ');
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== '' && value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
