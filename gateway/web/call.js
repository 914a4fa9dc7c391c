// A call: what is said and heard, joined with the session. It decides when audio is sent, when a
// reply is cut, and what the provider is told of it; it knows no page.
import { DIALECTS, OPEN, PUSH, toolAnswer } from './dialects.js';
import { Microphone } from './microphone.js';
import { Outbox } from './outbox.js';
import { Replies } from './replies.js';
import { Session } from './session.js';
import { Speaker } from './speaker.js';

// A level that is a voice: about -30 dBFS, above what rooms and microphones hum.
const VOICE_LEVEL = 0.03;
// Providers refuse a turn of less than 100 ms.
const TURN_MS_MIN = 120;

export class Call {
  #listener;
  #speaker = new Speaker((happened) => this.#played(happened));
  #microphone = new Microphone((chunk) => this.#heard(chunk));
  #session = null;
  #outbox = null;
  #settings = null;
  #dialect = null;
  #read = null;
  #isReady = false;
  #replies = new Replies();
  // What a provider takes only once its response is over: what was written, or to respond at all.
  #texts = [];
  #isToRespond = false;
  #pushedAt = null;
  #spokeAt = null; // the end of what the user said last, until it is answered
  #sessions = 0; // so far: each names its items as it likes
  #items = new Map(); // what is heard of this session -> its name there
  isMuted = false;

  // `listener` has eventHappened(event), stateChanged(state), levelChanged(whose, level),
  // messagePassed(direction, message), answered(id, milliseconds), toolAnswered(id, output),
  // silenced(isSilent) while something is due that does not come, and microphoneLost().
  constructor(listener) {
    this.#listener = listener;
  }

  get isReady() {
    return this.#isReady;
  }

  get isListening() {
    return this.#microphone.isOn;
  }

  // Connects with { style, provider, model, mode, pastedKey }; one that runs already is ended.
  async connect(settings) {
    // What becomes of the old one is nothing to tell.
    const old = this.#session;
    this.#session = null;
    old?.stop();
    this.#speaker.cut();
    this.#reset();
    const dialect = DIALECTS[settings.style];
    await this.#speaker.start();
    await this.#microphone.start(dialect.rateHz);
    this.#settings = settings;
    this.#dialect = dialect;
    // One that was left may still have something to say.
    const ifCurrent = (act) => (told) => {
      if (this.#session === session) act(told);
    };
    const session = new Session({ ...settings, dialect }, {
      stateChanged: ifCurrent((state) => this.#stateChanged(state)),
      opened: ifCurrent(() => this.#opened()),
      received: ifCurrent((message) => this.#received(message)),
      sent: ifCurrent((message) => this.#listener.messagePassed('sent', message)),
      silenced: ifCurrent((isSilent) => this.#silenced(isSilent)),
      isAnswerDue: () => this.#isServerBusy || this.#spokeAt !== null,
    });
    this.#session = session;
    await session.run();
  }

  // Ends the session, and what is being heard.
  hangUp() {
    this.#session?.stop();
    this.#speaker.cut();
  }

  retryNow() {
    this.#session?.retryNow();
  }

  // Opens the microphone; throws the browser's DOMException.
  async listen(deviceId) {
    await this.#microphone.open(deviceId);
  }

  stopListening() {
    this.#microphone.close();
    this.#listener.levelChanged('microphone', 0);
  }

  // Open microphone or push to talk, at any time; Gemini wants a new session for it.
  async setMode(mode) {
    if (this.#settings === null || this.#settings.mode === mode) return;
    this.#settings = { ...this.#settings, mode };
    if (!this.#isReady) return;
    if (this.#dialect.canRetune) this.#send(this.#dialect.tune(mode));
    else await this.connect(this.#settings);
  }

  // The user begins to speak, with push to talk.
  beginTurn() {
    if (!this.#isReady || this.#pushedAt !== null) return;
    this.interrupt();
    this.#pushedAt = performance.now();
    this.#send(this.#dialect.beginTurn());
  }

  // The user has spoken; false: too short to be anything.
  endTurn() {
    if (this.#pushedAt === null) return true;
    const lasted = performance.now() - this.#pushedAt;
    this.#pushedAt = null;
    this.#spokeAt = performance.now();
    const isTurn = lasted >= TURN_MS_MIN;
    this.#send(isTurn ? this.#dialect.endTurn() : this.#dialect.dropTurn());
    if (isTurn) this.#askForResponse();
    return isTurn;
  }

  // Speaks in the user's place.
  async sendSample() {
    if (!this.#isReady || this.#microphone.isPlayingSample) return;
    const isPush = this.#settings.mode === PUSH;
    if (isPush) this.beginTurn();
    await this.#microphone.playSample();
    if (isPush) this.endTurn();
  }

  // Writes in place of speaking; false when the session is not ready.
  sendText(text) {
    if (!this.#isReady) return false;
    this.interrupt();
    this.#spokeAt = performance.now();
    this.#texts.push(text);
    if (!this.#replies.isBusy) this.#goOn();
    return true;
  }

  // Silence now: the reply that is being made is cancelled, and what was heard of it is told.
  interrupt() {
    if (this.#replies.cut()) this.#send(this.#dialect.cancel());
    this.#tellCut();
  }

  #send(messages) {
    this.#outbox.push(messages);
  }

  // --- the session ------------------------------------------------------------------------------

  // Whether the server has begun something, or was asked for it.
  get #isServerBusy() {
    return !this.#isReady || this.#replies.isBusy;
  }

  #stateChanged(state) {
    this.#reset();
    this.#listener.silenced(false);
    this.#listener.stateChanged(state);
  }

  #reset() {
    this.#isReady = false;
    this.#replies = new Replies();
    this.#outbox?.close();
    this.#texts = [];
    this.#isToRespond = false;
    this.#pushedAt = this.#spokeAt = null;
  }

  // What was loud was perhaps no speech: then nobody waits for an answer.
  #silenced(isSilent) {
    this.#listener.silenced(isSilent && this.#isServerBusy);
  }

  #opened() {
    const { mode, model } = this.#settings;
    const session = this.#session;
    this.#outbox = new Outbox((messages) => session.send(messages));
    this.#sessions += 1;
    this.#items.clear();
    this.#read = this.#dialect.makeReader(model);
    this.#send(this.#dialect.opening(mode, model));
  }

  #received(message) {
    this.#listener.messagePassed('received', message);
    for (const event of this.#read(message)) {
      this.#act(event);
      this.#listener.eventHappened(event);
    }
  }

  #act(event) {
    switch (event.kind) {
      case 'ready':
        this.#isReady = true;
        this.#listener.stateChanged({ name: 'open', model: event.model });
        break;
      case 'speech-started':
        // The server has cancelled the reply itself.
        this.#replies.cut();
        this.#tellCut();
        break;
      case 'response-started':
        this.#replies.started(event.response);
        break;
      case 'audio':
        this.#play(event);
        break;
      case 'audio-done':
        this.#speaker.flush();
        break;
      case 'tool-call':
        this.#answerTool(event);
        break;
      case 'reply-done':
        this.#replies.done();
        this.#speaker.flush();
        this.#goOn();
        break;
      case 'error':
        this.#session.noteError(event.code);
        if (this.#replies.failed()) this.#goOn();
        break;
      default:
    }
  }

  #play({ id, response, samples }) {
    const item = `${this.#sessions}/${id}`;
    const isNew = !this.#items.has(item);
    this.#items.set(item, id);
    if (this.#replies.wants(response)) this.#speaker.push(item, samples);
    // It was on its way when its response was cut, and nothing of it was heard.
    else if (isNew) this.#send(this.#dialect.truncate(id, 0));
  }

  // Silence, and the provider hears what was played of everything that is cut, before it hears what
  // is sent from now on.
  #tellCut() {
    const told = this.#speaker.cut().then((unfinished) => unfinished
      .filter(({ item }) => this.#items.has(item)) // not of the session before
      .flatMap(({ item, playedMs }) => this.#dialect.truncate(this.#items.get(item), playedMs)));
    this.#outbox.hold(told);
  }

  // Asks for what had to wait.
  #goOn() {
    const texts = this.#texts;
    this.#texts = [];
    if (texts.length > 0) this.#ask(this.#dialect.text(...texts));
    else if (this.#isToRespond) this.#ask(this.#dialect.respond());
  }

  #ask(messages) {
    this.#isToRespond = false;
    this.#replies.asked();
    this.#send(messages);
  }

  #askForResponse() {
    this.#isToRespond = true;
    if (!this.#replies.isBusy) this.#goOn();
  }

  #answerTool(call) {
    const output = toolAnswer(call.name, new Date());
    this.#send(this.#dialect.toolOutput(call, output));
    if (!this.#dialect.goesOnAlone) this.#askForResponse();
    // After the call itself has been shown.
    queueMicrotask(() => this.#listener.toolAnswered(call.id, output));
  }

  // --- what is said and heard -------------------------------------------------------------------

  get #isSending() {
    if (!this.#isReady) return false;
    if (this.#microphone.isPlayingSample) return true;
    return this.#settings.mode === OPEN ? !this.isMuted : this.#pushedAt !== null;
  }

  #heard({ pcm, level, ended }) {
    if (ended) {
      this.#listener.microphoneLost();
      return;
    }
    this.#listener.levelChanged('microphone', level);
    if (!this.#isSending) return;
    if (level > VOICE_LEVEL) this.#spokeAt = performance.now();
    this.#send(this.#dialect.audio(pcm));
  }

  #played({ kind, item, level }) {
    const id = this.#items.get(item);
    if (kind === 'level') this.#listener.levelChanged('speaker', level);
    if (kind === 'started' && id !== undefined && this.#spokeAt !== null) {
      this.#listener.answered(id, Math.round(performance.now() - this.#spokeAt));
      this.#spokeAt = null;
    }
  }
}
