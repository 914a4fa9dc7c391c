// The money: two bars that fall, every change of the account's balance, what was used here, a chart.
import { chartPath, CreditHistory } from './credit-history.js';
import { byId, element, grouped, svgElement } from './dom.js';

const WIDTH = 300;
const HEIGHT = 72;
const CHANGES_MAX = 6;
const REDRAW_MS = 1_000;

export class CreditsView {
  #history = new CreditHistory();
  #changes = byId('changes');
  #here = byId('used-here');
  #line = svgElement('path', { class: 'chart-line' });
  #area = svgElement('path', { class: 'chart-area' });

  constructor() {
    byId('credit-chart').append(this.#area, this.#line);
    // Time goes on, also while nothing is charged.
    setInterval(() => this.#draw(), REDRAW_MS);
  }

  // Takes the page's events.
  take(event) {
    if (event.kind === 'usage') this.#used(event);
    if (event.kind === 'credit') this.#told(event);
  }

  #used({ input, output, total }) {
    this.#history.used(total);
    byId('last-usage').textContent =
      `${grouped(total)} tokens (${grouped(input)} in, ${grouped(output)} out)`;
    this.#showHere();
  }

  #told(credit) {
    const change = this.#history.take(performance.now(), credit);
    const { bars } = this.#history;
    showBar('topup', credit.topup, bars.topup);
    showBar('tokens', credit.tokens, bars.tokens);
    byId('credit-total').textContent = grouped(credit.topup + credit.tokens);
    if (change !== null) this.#addChange(change);
    this.#showHere();
    this.#draw();
  }

  #addChange({ topup, tokens, total, here }) {
    const parts = [
      topup ? `top-up ${signed(-topup)}` : '', tokens ? `subscription ${signed(-tokens)}` : '',
    ].filter(Boolean).join(', ');
    const what = total < 0 ? 'Credits added'
      : here.usages > 0 ? `Taken, after ${counted(here.usages)} here` : 'Taken from the account';
    const line = element('li', {},
      element('span', {}, what), element('span', { className: 'number' }, parts));
    this.#changes.prepend(line);
    while (this.#changes.children.length > CHANGES_MAX) this.#changes.lastElementChild.remove();
    byId('changes-empty').hidden = true;
  }

  #showHere() {
    const { usages, tokens } = this.#history.here;
    this.#here.textContent = usages === 0 ? 'Nothing used here since the balance changed'
      : `Used here since the balance changed: ${grouped(tokens)} tokens in ${counted(usages)}`;
    this.#here.classList.toggle('is-waiting', usages > 0);
  }

  #draw() {
    const path = chartPath(this.#history.points, performance.now(), WIDTH, HEIGHT);
    this.#line.setAttribute('d', path);
    this.#area.setAttribute('d', path && `${path}V${HEIGHT}H0Z`);
    const { points } = this.#history;
    if (points.length === 0) return;
    const sums = points.map(({ topup, tokens }) => topup + tokens);
    byId('credit-chart-title').textContent =
      `Credits over time: from ${grouped(sums[0])} to ${grouped(sums.at(-1))}`;
  }
}

function showBar(name, value, share) {
  const bar = byId(`bar-${name}`);
  bar.setAttribute('aria-valuenow', String(Math.round(share * 100)));
  bar.setAttribute('aria-valuetext', `${grouped(value)} credits`);
  bar.firstElementChild.style.width = `${share * 100}%`;
  const number = byId(`credit-${name}`);
  number.textContent = grouped(value);
  number.dataset.value = String(value);
}

function signed(value) {
  return `${value > 0 ? '+' : '−'}${grouped(Math.abs(value))}`;
}

function counted(usages) {
  return usages === 1 ? '1 usage' : `${usages} usages`;
}
