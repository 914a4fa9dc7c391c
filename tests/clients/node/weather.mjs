// The agent's tool, and which tools were called.
import { tool } from '@openai/agents-realtime';
import { z } from 'zod';
import { TOOL } from './common.mjs';

export const called = [];
export const weather = tool({
  name: TOOL,
  description: 'The weather of a place.',
  parameters: z.object({ question: z.string(), unit: z.string() }),
  execute: async () => {
    called.push(TOOL);
    return '{"celsius": 21}';
  },
});
