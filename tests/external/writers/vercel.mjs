// The scripted agent with Vercel's AI SDK 7: node vercel.mjs MODEL_URL OTLP_URL [stream]
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { OpenTelemetry } from '@ai-sdk/otel';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, jsonSchema, registerTelemetry, stepCountIs, streamText, tool } from 'ai';

const [modelUrl, otlpUrl, how] = process.argv.slice(2);
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter({ url: otlpUrl }))] });
provider.register();
registerTelemetry(new OpenTelemetry());

const schema = { type: 'object', properties: { order_id: { type: 'string' } }, required: ['order_id'], additionalProperties: false };
const asked = {
  model: createOpenAICompatible({ name: 'shop', baseURL: modelUrl, includeUsage: true })('gpt-4o'),
  instructions: 'Be kind.',
  prompt: 'Where are KS-1 and 2?',
  stopWhen: stepCountIs(5),
  telemetry: { functionId: 'support' },
  tools: {
    look_up: tool({
      description: 'Look an order up.',
      inputSchema: jsonSchema(schema),
      execute: async ({ order_id }) => ({ order_id, status: 'on its way to Bonn' }),
    }),
  },
};
const text = how === 'stream' ? await streamText(asked).text : (await generateText(asked)).text;
if (text !== 'KS-1 is on its way.') throw new Error(text);
await provider.shutdown();
