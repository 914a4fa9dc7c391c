// What is sent, in its order, also where a part of it is not known yet. Pure.
//
// A reply that is cut is told to the provider with what was played of it, which the audio thread
// knows. What is sent meanwhile waits behind that: a provider that is asked for the next response
// first would take for heard what was not.

export class Outbox {
  #send;
  #waiting = []; // { messages }; null: not known yet
  #isClosed = false;

  // `send` takes a list of messages.
  constructor(send) {
    this.#send = send;
  }

  // Sends messages, behind what is waited for.
  push(messages) {
    this.#waiting.push({ messages });
    this.#empty();
  }

  // Keeps a place for the messages that `promise` gives: it must come to an end.
  async hold(promise) {
    const place = { messages: null };
    this.#waiting.push(place);
    place.messages = await promise;
    this.#empty();
  }

  // What still waits belongs to a session that is over.
  close() {
    this.#isClosed = true;
  }

  #empty() {
    while (!this.#isClosed && this.#waiting.length > 0 && this.#waiting[0].messages !== null) {
      this.#send(this.#waiting.shift().messages);
    }
  }
}
