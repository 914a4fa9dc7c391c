// Small helpers around the document.

const SVG = 'http://www.w3.org/2000/svg';

// The element with this id, which the page has.
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element #${id}`);
  return found;
}

// A new element; `properties` are the element's own, `children` nodes or text.
export function element(name, properties = {}, ...children) {
  const { dataset = {}, attributes = {}, ...own } = properties;
  const made = Object.assign(document.createElement(name), own);
  Object.assign(made.dataset, dataset);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

// A new SVG element with these attributes; `children` are nodes or text.
export function svgElement(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

// A whole number as people read it.
export function grouped(number) {
  return number.toLocaleString('en');
}
