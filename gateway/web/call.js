// A call: what is said and heard, joined with the session. It decides when audio is sent, when a
// reply is cut, and what the provider is told of it; it knows no page.
import { DIALECTS, OPEN, PUSH, toolAnswer } from './dialects.js';
import { Microphone } from './microphone.js';
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
  #settings = null;
  #dialect = null;
  #read = null;
  #isReady = false;
  #isReplying = false;
  // What a provider takes only once its response is over: what was written, or to go on at all.
  #texts = [];
  #isToResume = false;
  #pushedAt = null;
  #spokeAt = null; // the end of what the user said last, until it is answered
  #sessions = 0; // so far: each names its items as it likes
  #items = new Map(); // what is heard of this session -> its name there
  isMuted = false;

  // `listener` has eventHappened(event), stateChanged(state), levelChanged(whose, level),
  // messagePassed(direction, message), answered(id, milliseconds), toolAnswered(id, output) and
  // microphoneLost().
  constructor(listener) {
    this.#listener = listener;
  }

  get isReady() {
    return this.#isReady;
  }

  get isListening() {
    return this.#microphone.isOn;
  }

  // Connects with { style, model, mode, pastedKey }; one that runs already is ended.
  async connect(settings) {
    this.hangUp();
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
    if (!this.#isReplying) return this.#send(this.#dialect.text(text));
    this.#texts.push(text);
    return true;
  }

  // Silence now: the reply that is being made is cancelled, and what was heard of it is told.
  interrupt() {
    this.#speaker.cut();
    if (this.#isReplying) this.#send(this.#dialect.cancel());
  }

  #send(messages) {
    return this.#session?.send(messages) ?? false;
  }

  // --- the session ------------------------------------------------------------------------------

  #stateChanged(state) {
    this.#isReady = this.#isReplying = false;
    this.#texts = [];
    this.#isToResume = false;
    this.#pushedAt = null;
    this.#listener.stateChanged(state);
  }

  #opened() {
    const { mode, model } = this.#settings;
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
        this.#speaker.cut();
        break;
      case 'response-started':
        this.#isReplying = true;
        break;
      case 'audio':
        this.#play(event);
        break;
      case 'tool-call':
        this.#answerTool(event);
        break;
      case 'reply-done':
        this.#isReplying = false;
        this.#speaker.flush();
        this.#goOn();
        break;
      case 'error':
        this.#session.noteError(event.code);
        break;
      default:
    }
  }

  #play({ id, samples }) {
    const item = `${this.#sessions}/${id}`;
    this.#items.set(item, id);
    this.#speaker.push(item, samples);
  }

  // Asks for what had to wait.
  #goOn() {
    if (this.#texts.length > 0) this.#send(this.#dialect.text(...this.#texts));
    else if (this.#isToResume) this.#send(this.#dialect.resume());
    this.#texts = [];
    this.#isToResume = false;
  }

  #answerTool(call) {
    const output = toolAnswer(call.name, new Date());
    this.#isToResume = true;
    this.#send(this.#dialect.toolOutput(call, output));
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

  #played({ kind, item, level, playedMs }) {
    const id = this.#items.get(item);
    if (kind === 'level') this.#listener.levelChanged('speaker', level);
    if (kind === 'started' && id !== undefined && this.#spokeAt !== null) {
      this.#listener.answered(id, Math.round(performance.now() - this.#spokeAt));
      this.#spokeAt = null;
    }
    if (kind === 'cut' && id !== undefined) this.#send(this.#dialect.truncate(id, playedMs));
  }
}
