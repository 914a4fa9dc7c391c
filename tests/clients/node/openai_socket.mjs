// openai-node's connection, which always speaks wss; Node takes the certificate from NODE_EXTRA_CA_CERTS.
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { API_KEY, GATEWAY_URL_TLS, Inbox, MODEL } from './common.mjs';

const inbox = new Inbox();

// ``query`` belongs to the base URL, e.g. '?provider=gemini'.
export function open(query = '') {
  const baseURL = `${GATEWAY_URL_TLS.replace('wss', 'https')}/v1${query}`;
  const realtime = new OpenAIRealtimeWS({ model: MODEL }, new OpenAI({ apiKey: API_KEY, baseURL }));
  realtime.on('event', (event) => inbox.push(event));
  realtime.on('error', (error) => inbox.push(error));
  return realtime;
}

export const until = (type, onEach) => inbox.until((event) => event.type === type, onEach);
