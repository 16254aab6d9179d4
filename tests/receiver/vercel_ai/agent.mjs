// Two runs of an agent of Vercel's AI SDK: a good one, and one whose tool fails and whose answer claims success.

import { OpenTelemetry } from "@ai-sdk/otel";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { generateText, isStepCount, registerTelemetry, tool } from "ai";
import { MockLanguageModelV4 } from "ai/test";
import { z } from "zod";

const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] });
provider.register();
registerTelemetry(new OpenTelemetry());

const usage = { inputTokens: { total: 80, noCache: 60, cacheRead: 20, cacheWrite: 0 }, outputTokens: { total: 12, text: 12, reasoning: 0 } };

/** A model that asks for one call of a tool, and then answers. */
function scripted(toolName, args, answer) {
  const turns = [
    { content: [{ type: "tool-call", toolCallId: `call_${toolName}`, toolName, input: JSON.stringify(args) }], finishReason: { unified: "tool-calls", raw: "tool_calls" } },
    { content: [{ type: "text", text: answer }], finishReason: { unified: "stop", raw: "stop" } },
  ];
  return new MockLanguageModelV4({ provider: "openai.chat", modelId: "gpt-4o-mini", doGenerate: async () => ({ ...turns.shift(), usage, warnings: [] }) });
}

const lookUp = tool({ description: "Look an order up", inputSchema: z.object({ orderId: z.string() }), execute: async ({ orderId }) => ({ orderId, state: "sent" }) });
const refund = tool({
  description: "Refund an order",
  inputSchema: z.object({ orderId: z.string(), amount: z.number() }),
  execute: async () => {
    throw new Error("payment gateway refused: HTTP 503");
  },
});
const tools = { lookUp, refund };

await generateText({ model: scripted("lookUp", { orderId: "A-1001" }, "Order A-1001 was sent."), tools, stopWhen: isStepCount(5), prompt: "Where is order A-1001?", telemetry: { functionId: "support" } });
await generateText({ model: scripted("refund", { orderId: "A-1001", amount: 25.5 }, "Done, I refunded order A-1001."), tools, stopWhen: isStepCount(5), prompt: "Refund 25.5 EUR of order A-1001.", telemetry: { functionId: "support" } });
await provider.shutdown();
