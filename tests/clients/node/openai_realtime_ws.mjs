// openai-node holds a conversation.
import { ASK_STORY, ASK_TOOL, PARAMETERS, SAID, TOOL, pieces, report } from './common.mjs';
import { open, until } from './openai_socket.mjs';

const realtime = open();
const add = (item) => realtime.send({ type: 'conversation.item.create', item });
const write = (text) =>
  add({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] });
const respond = () => realtime.send({ type: 'response.create' });
const heard = [];

await until('session.created');
realtime.send({
  type: 'session.update',
  session: {
    type: 'realtime',
    output_modalities: ['audio'],
    audio: { input: { turn_detection: null } },
    tools: [{ type: 'function', name: TOOL, parameters: PARAMETERS }],
  },
});
await until('session.updated');

for (const piece of pieces(SAID)) {
  realtime.send({ type: 'input_audio_buffer.append', audio: piece.toString('base64') });
}
realtime.send({ type: 'input_audio_buffer.commit' });
respond();
await until('response.done', (event) => {
  if (event.type === 'response.output_audio.delta') heard.push(Buffer.from(event.delta, 'base64'));
});

write(ASK_TOOL);
respond();
const [call] = (await until('response.done')).response.output;
add({ type: 'function_call_output', call_id: call.call_id, output: '{"celsius": 21}' });
respond();
await until('response.done');

write(ASK_STORY);
respond();
await until('response.output_audio.delta');
realtime.send({ type: 'response.cancel' });
const { response } = await until('response.done');

realtime.close();
report({ heard, tool: call.name, interrupted: response.status });
