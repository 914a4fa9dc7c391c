// Which response is being made, and whether it is still to be heard. Pure.
//
// The server sends a while longer what was cut: it hears of that late, or never. A cut counts for
// every piece of its response, also for those of one that was asked for and has not begun.

const NONE = 'none';
const ASKED = 'asked'; // by this page; the server has not said that it begins
const MADE = 'made';

export class Replies {
  #state = NONE;
  #newest = null; // responses, as the server calls them
  #cut = null;
  #isUnwanted = false; // the one that was asked for

  // Whether a response is awaited or being made: a provider takes no other request.
  get isBusy() {
    return this.#state !== NONE;
  }

  asked() {
    this.#state = ASKED;
  }

  started(response) {
    this.#state = MADE;
    this.#newest = response;
    if (this.#isUnwanted) this.#cut = response;
    else if (this.#cut === response) this.#cut = null;
    this.#isUnwanted = false;
  }

  // A piece came: whether it is to be heard. Some servers do not say that a response begins.
  wants(response) {
    if (!this.isBusy) this.#newest = response;
    return response !== this.#cut;
  }

  // Nothing more of it is to be heard; whether there is one to be cancelled.
  cut() {
    this.#cut = this.#newest;
    this.#isUnwanted = this.#state === ASKED;
    return this.isBusy;
  }

  done() {
    this.#state = NONE;
    this.#isUnwanted = false;
  }

  // The server complained, perhaps of what was asked; whether nothing is awaited any more.
  failed() {
    const wasAsked = this.#state === ASKED;
    if (wasAsked) this.done();
    return wasAsked;
  }
}
