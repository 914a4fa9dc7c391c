// openai-node tells a tale; the provider is named in the query of the base URL.
import { ASK_STORY, ASK_TOOL, BRIEF, FRENCH, LAST, NAME, PARAMETERS, PROVIDER, SAID, TOOL, pieces, report } from './common.mjs';
import { open, until } from './openai_socket.mjs';

const realtime = open(PROVIDER && `?provider=${PROVIDER}`);
const add = (item) => realtime.send({ type: 'conversation.item.create', item });
const write = (text) =>
  add({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] });
const configure = async (session) => {
  realtime.send({ type: 'session.update', session: { type: 'realtime', ...session } });
  await until('session.updated');
};
const heard = [];
const answers = [];
const respond = async () => {
  realtime.send({ type: 'response.create' });
  const { response } = await until('response.done', (event) => {
    const isFirst = !answers.length;
    if (isFirst && event.type === 'response.output_audio.delta') heard.push(Buffer.from(event.delta, 'base64'));
  });
  return response.output[0];
};
const keep = async () => answers.push((await respond()).content[0].transcript);

await until('session.created');
await configure({
  instructions: BRIEF,
  output_modalities: ['audio'],
  audio: { input: { turn_detection: null } },
  tools: [{ type: 'function', name: TOOL, parameters: PARAMETERS }],
});
for (const piece of pieces(SAID)) {
  realtime.send({ type: 'input_audio_buffer.append', audio: piece.toString('base64') });
}
realtime.send({ type: 'input_audio_buffer.commit' });
await keep();
write(NAME);
await keep();
write(ASK_TOOL);
const call = await respond();
add({ type: 'function_call_output', call_id: call.call_id, output: '{"celsius": 21}' });
await keep();
await configure({ instructions: FRENCH });
write(ASK_STORY);
realtime.send({ type: 'response.create' });
await until('response.output_audio.delta');
realtime.send({ type: 'response.cancel' });
const { response } = await until('response.done');
write(LAST);
await keep();

realtime.close();
report({ heard, tool: call.name, interrupted: response.status, answers });
