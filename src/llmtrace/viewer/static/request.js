// A recorded call of a model as a request that repeats it. Keys are never in it: they come from the environment.

import { jsonText } from "./format.js";

async function request(view, row) {
  const payload = (await view.need([row.id])).get(row.id);
  const facts = payload.facts;
  const { stream_options: _, ...parameters } = facts.parameters ?? {}; // it is not streamed
  const messages = /** @type {Message[]} */ (await view.data.history(view.id, row.id));
  const anthropic = facts.provider === "anthropic";
  const host = facts.server_address && !["api.openai.com", "api.anthropic.com"].includes(facts.server_address) ? `http://${facts.server_address}${facts.server_port ? `:${facts.server_port}` : ""}` : null;
  const model = facts.request_model ?? facts.response_model;
  const tools = (payload.tools ?? []).map((tool) => anthropic
    ? { name: tool.name, description: tool.description ?? undefined, input_schema: tool.parameters }
    : { type: "function", function: { name: tool.name, description: tool.description ?? undefined, parameters: tool.parameters ?? undefined } });
  const system = (payload.system ?? []).map((part) => part.content ?? "").join("\n");
  const body = anthropic
    ? { model, max_tokens: 1024, ...parameters, system: system || undefined, messages: messages.map(anthropicMessage), tools: tools.length ? tools : undefined }
    : { model, ...parameters, messages: [...(system ? [{ role: "system", content: system }] : []), ...messages.flatMap(openaiMessages)], tools: tools.length ? tools : undefined };
  return anthropic
    ? { url: `${host ?? "https://api.anthropic.com"}/v1/messages`, key: "ANTHROPIC_API_KEY", headers: ["anthropic-version: 2023-06-01"], body, provider: "anthropic" }
    : { url: `${host ?? "https://api.openai.com"}/v1/chat/completions`, key: "OPENAI_API_KEY", headers: [], body, provider: "openai" };
}

/** @param {Message} message @returns {any[]} */
function openaiMessages(message) {
  const results = message.parts.filter((part) => part.type === "tool_call_response");
  if (results.length) return results.map((part) => ({ role: "tool", tool_call_id: part.id, content: asText(part.response) }));
  const calls = message.parts.filter((part) => part.type === "tool_call");
  const text = message.parts.filter((part) => part.type === "text").map((part) => part.content).join("\n");
  return [{ role: message.role, content: text || (calls.length ? null : ""), ...(calls.length ? { tool_calls: calls.map((part) => ({ id: part.id, type: "function", function: { name: part.name, arguments: asText(part.arguments) } })) } : {}) }];
}

/** @param {Message} message */
function anthropicMessage(message) {
  return {
    role: message.role === "assistant" ? "assistant" : "user",
    content: message.parts.map((part) => {
      if (part.type === "tool_call") return { type: "tool_use", id: part.id, name: part.name, input: part.arguments };
      if (part.type === "tool_call_response") return { type: "tool_result", tool_use_id: part.id, content: asText(part.response) };
      return { type: "text", text: part.content ?? jsonText(part) };
    }),
  };
}

const asText = (value) => (typeof value === "string" ? value : jsonText(value));

/** A text as one word of a POSIX shell. */
export function quoted(text) {
  return `'${text.replaceAll("'", `'"'"'`)}'`;
}

/** JSON in which nothing but plain ASCII stands: no terminal and no shell reads anything into it. */
function asciiJson(value) {
  return jsonText(value, 2).replace(/[\u007f-\uffff]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

export async function asCurl(view, row) {
  const made = await request(view, row);
  const auth = made.provider === "anthropic" ? `-H "x-api-key: $${made.key}"` : `-H "Authorization: Bearer $${made.key}"`;
  return [`curl ${quoted(made.url)}`, auth, "-H 'content-type: application/json'", ...made.headers.map((header) => `-H ${quoted(header)}`), `--data-raw ${quoted(asciiJson(made.body))}`].join(" \\\n  ");
}

export async function asPython(view, row) {
  const made = await request(view, row);
  const body = JSON.stringify(asciiJson(made.body)).replaceAll("\\n", "\\n\"\n    \"");
  const call = made.provider === "anthropic" ? ["from anthropic import Anthropic", "Anthropic().messages.create"] : ["from openai import OpenAI", "OpenAI().chat.completions.create"];
  return `import json\n\n${call[0]}\n\nrequest = json.loads(\n    ${body}\n)\nprint(${call[1]}(**request))\n`;
}
