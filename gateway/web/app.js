// The page: joins the call with what is seen and clicked.
import { Call } from './call.js';
import { Conversation } from './conversation.js';
import { DIALECTS, PUSH, kindOf, modelFor } from './dialects.js';
import { byId, element } from './dom.js';
import { Microphone } from './microphone.js';
import { NOT_SECURE, whyNoMicrophone, whyNoSound } from './reasons.js';
import { ConversationView } from './view-conversation.js';
import { CreditsView } from './view-credits.js';
import { InspectorView } from './view-inspector.js';
import { StatusView } from './view-status.js';

// A level as people hear it: half as loud is 10 dB less.
const LOUDNESS_EXPONENT = 0.5;

const conversation = new Conversation();
const bubbles = new ConversationView();
const credits = new CreditsView();
const inspector = new InspectorView();
const status = new StatusView();

const connect = byId('connect');
const talk = byId('talk');
const sample = byId('sample');
const hush = byId('hush');
const device = byId('device');
const settings = byId('settings-form');

const call = new Call({
  stateChanged(state) {
    status.show(state);
    const isOn = state.name !== 'idle' && state.name !== 'failed';
    connect.textContent = isOn ? 'Hang up' : 'Connect';
    connect.dataset.isOn = String(isOn);
    for (const button of [sample, talk, hush, byId('write-send')]) {
      button.disabled = state.name !== 'open';
    }
    if (state.name !== 'open') {
      talk.classList.remove('is-held'); // a button that cannot be pressed is not let go either
      bubbles.show(conversation.seal());
    }
    // Of many attempts the first one says why.
    if (state.why && !(state.attempt > 1)) bubbles.show([conversation.add('divider', state.why.title)]);
    if (state.name === 'idle' || state.name === 'failed') call.stopListening();
    showTalk();
  },
  eventHappened(event) {
    credits.take(event);
    bubbles.show(conversation.take(event));
    if (event.kind === 'error') bubbles.show([conversation.add('problem', event.message)]);
    if (event.kind === 'leaving') {
      bubbles.show([conversation.add('divider', `The provider ends the session in ${event.after}`)]);
    }
  },
  levelChanged: showLevel,
  messagePassed: (direction, message) => inspector.add(direction, message),
  answered(id, milliseconds) {
    byId('latency').textContent = `${milliseconds} ms`;
    bubbles.show(conversation.timed(id, milliseconds));
  },
  toolAnswered(id, output) {
    bubbles.show(conversation.answer(id, `answered by this page: ${JSON.stringify(output)}`));
  },
  silenced: (isSilent) => status.silence(isSilent),
  microphoneLost() {
    status.notice(whyNoMicrophone('OverconstrainedError', window.isSecureContext));
    showTalk();
  },
});

function chosen() {
  const form = new FormData(settings);
  const style = form.get('style');
  const provider = form.get('provider');
  return {
    style, provider, mode: form.get('mode'),
    model: form.get('model').trim() || modelFor(DIALECTS[style], provider),
    pastedKey: form.get('key').trim(),
  };
}

function showModel() {
  const { style, provider } = chosen();
  const isOwn = !provider || Object.hasOwn(DIALECTS[style].models, kindOf(provider));
  byId('model').placeholder = isOwn ? modelFor(DIALECTS[style], provider)
    : 'The provider’s default';
}

function showLevel(whose, level) {
  const loudness = level ** LOUDNESS_EXPONENT;
  byId(`level-${whose}`).style.setProperty('--level', loudness.toFixed(3));
  if (whose === 'microphone') talk.style.setProperty('--level', loudness.toFixed(3));
}

function showTalk() {
  const isPush = chosen().mode === PUSH;
  const isOpenMicrophone = !isPush && call.isListening && !call.isMuted;
  talk.setAttribute('aria-pressed', String(isOpenMicrophone));
  byId('talk-label').textContent = isPush ? 'Hold to talk'
    : isOpenMicrophone ? 'Listening' : 'Microphone';
  byId('talk-hint').textContent = isPush
    ? 'Hold the button, or the space bar on it, while you speak.'
    : 'Press once and speak; press again to mute.';
}

// --- talking --------------------------------------------------------------------------------------

// Opens the microphone if it is not open; false, with a notice, when that cannot be.
async function listen() {
  if (call.isListening) return true;
  try {
    await call.listen(device.value);
  } catch (error) {
    status.notice(whyNoMicrophone(error.name, window.isSecureContext));
    return false;
  }
  status.hideNotice();
  await showDevices();
  return call.isListening;
}

async function toggleMicrophone() {
  if (call.isListening) call.isMuted = !call.isMuted;
  else if (await listen()) call.isMuted = false;
  showTalk();
}

async function push() {
  if (talk.disabled || talk.classList.contains('is-held')) return;
  talk.classList.add('is-held');
  const canSpeak = await listen();
  // The permission may have been asked for: perhaps the button is not held any more.
  if (canSpeak && talk.classList.contains('is-held')) call.beginTurn();
}

function release() {
  if (!talk.classList.contains('is-held')) return;
  talk.classList.remove('is-held');
  if (!call.endTurn()) {
    status.notice({ title: 'That was short', detail: 'Hold the button while you speak.' });
  }
}

const isPushMode = () => chosen().mode === PUSH;

talk.addEventListener('click', () => {
  if (!isPushMode()) toggleMicrophone();
});
talk.addEventListener('pointerdown', (event) => {
  if (!isPushMode() || event.button !== 0) return;
  talk.setPointerCapture(event.pointerId);
  push();
});
for (const kind of ['pointerup', 'pointercancel', 'blur']) talk.addEventListener(kind, release);
talk.addEventListener('keydown', (event) => {
  if (!isPushMode() || ![' ', 'Enter'].includes(event.key)) return;
  event.preventDefault();
  push();
});
talk.addEventListener('keyup', (event) => {
  if ([' ', 'Enter'].includes(event.key)) release();
});

sample.addEventListener('click', () => call.sendSample());
hush.addEventListener('click', () => call.interrupt());

byId('write').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = byId('write-text');
  const text = field.value.trim();
  if (!text || !call.sendText(text)) return;
  bubbles.show([conversation.add('user', text)]);
  field.value = '';
});

// --- connecting and settings ----------------------------------------------------------------------

async function start() {
  try {
    await call.connect(chosen());
  } catch (error) {
    status.notice(whyNoSound(error.message));
    throw error;
  }
}

connect.addEventListener('click', () => {
  if (connect.dataset.isOn === 'true') call.hangUp();
  else start();
});
byId('retry').addEventListener('click', () => {
  if (status.isSilent) start();
  else call.retryNow();
});
byId('notice-close').addEventListener('click', () => status.hideNotice());

settings.addEventListener('submit', (event) => event.preventDefault());
settings.addEventListener('change', ({ target }) => {
  showModel();
  if (target.name === 'mode') call.setMode(target.value);
  else if (target === device && call.isListening) {
    call.stopListening();
    listen().then(showTalk);
  } else if (target !== device && connect.dataset.isOn === 'true') start();
  showTalk();
});

async function showDevices() {
  const known = await Microphone.devices();
  const options = known.map(({ id, label }) => element('option', { value: id }, label));
  const current = device.value;
  device.replaceChildren(element('option', { value: '' }, 'The browser’s choice'), ...options);
  device.value = known.some(({ id }) => id === current) ? current : '';
}

navigator.mediaDevices?.addEventListener('devicechange', showDevices);
if (!window.isSecureContext) {
  status.notice(NOT_SECURE);
  connect.disabled = true;
}
showDevices();
showModel();
showTalk();
