// The money: two bars that fall, what waits to be charged, what was charged, and a chart.
import { chartPath, CreditHistory } from './credit-history.js';
import { byId, element, grouped, svgElement } from './dom.js';

const WIDTH = 300;
const HEIGHT = 72;
const CHARGES_MAX = 6;
const REDRAW_MS = 1_000;

export class CreditsView {
  #history = new CreditHistory();
  #charges = byId('charges');
  #waiting = byId('credit-waiting');
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
    this.#history.used();
    byId('last-usage').textContent =
      `${grouped(total)} tokens (${grouped(input)} in, ${grouped(output)} out)`;
    this.#showWaiting();
  }

  #told(credit) {
    const charge = this.#history.take(performance.now(), credit);
    const { bars } = this.#history;
    showBar('topup', credit.topup, bars.topup);
    showBar('tokens', credit.tokens, bars.tokens);
    byId('credit-total').textContent = grouped(credit.topup + credit.tokens);
    if (charge !== null) this.#addCharge(charge);
    this.#showWaiting();
    this.#draw();
  }

  #addCharge({ topup, tokens, total, responses }) {
    const parts = [
      topup ? `top-up ${signed(-topup)}` : '', tokens ? `subscription ${signed(-tokens)}` : '',
    ].filter(Boolean).join(', ');
    const what = total < 0 ? 'Credits added'
      : responses > 0 ? `Batch of ${responses} charged` : 'Batch charged';
    const line = element('li', {},
      element('span', {}, what), element('span', { className: 'number' }, parts));
    this.#charges.prepend(line);
    while (this.#charges.children.length > CHARGES_MAX) this.#charges.lastElementChild.remove();
    byId('charges-empty').hidden = true;
  }

  #showWaiting() {
    const { waiting } = this.#history;
    this.#waiting.textContent = waiting === 0 ? 'Everything is charged'
      : `${waiting} ${waiting === 1 ? 'usage waits' : 'usages wait'} for the next batch`;
    this.#waiting.classList.toggle('is-waiting', waiting > 0);
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
