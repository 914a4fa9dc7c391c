// What the connection is doing, in words: a short one in the header, and a notice where there is
// something to know or to do.
import { byId } from './dom.js';
import { STILL_WAITING } from './reasons.js';

const WORDS = {
  idle: 'Offline',
  connecting: 'Connecting…',
  open: 'Connected',
  waiting: 'Reconnecting',
  failed: 'Offline',
};

export class StatusView {
  #pill = byId('status');
  #notice = byId('notice');
  #title = byId('notice-title');
  #detail = byId('notice-detail');
  #countdown = byId('notice-countdown');
  #retry = byId('retry');
  #timer = null;
  #isSilent = false;

  // Whether the notice is that nothing comes: the button then connects again.
  get isSilent() {
    return this.#isSilent;
  }

  // A state of the session.
  show(state) {
    clearInterval(this.#timer);
    this.#pill.textContent = WORDS[state.name];
    this.#pill.dataset.state = state.name;
    this.#countdown.textContent = '';
    this.#retry.hidden = state.name !== 'waiting';
    if (state.name === 'failed') this.notice(state.why);
    else if (state.name === 'waiting') this.#wait(state);
    else if (state.name === 'open' || state.name === 'idle') this.hideNotice();
  }

  // A reason with a title and a detail.
  notice({ title, detail }) {
    this.#title.textContent = title;
    this.#detail.textContent = detail;
    this.#notice.hidden = false;
  }

  hideNotice() {
    this.#notice.hidden = true;
  }

  // Something is due that does not come, or it has come.
  silence(isSilent) {
    if (isSilent === this.#isSilent) return;
    this.#isSilent = isSilent;
    this.#retry.hidden = !isSilent;
    this.#retry.textContent = isSilent ? 'Connect again' : 'Try now';
    if (isSilent) this.notice(STILL_WAITING);
    else this.hideNotice();
  }

  #wait({ why, attempt, waitMs }) {
    this.notice(why);
    const until = performance.now() + waitMs;
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      this.#countdown.textContent = `Attempt ${attempt}: trying again in ${seconds} s.`;
    };
    tick();
    this.#timer = setInterval(tick, 250);
  }
}
