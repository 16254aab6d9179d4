// A recorded call of a model as a request that repeats it. Keys come from the environment.

import { escaped, jsonText } from "./format.js";

async function request(view, row) {
  const payload = (await view.need([row.id])).get(row.id);
  const facts = payload.facts;
  const { stream_options: _, ...parameters } = facts.parameters ?? {};
  const messages = await view.data.history(view.id, row.id);
  const anthropic = facts.provider === "anthropic";
  const { server_address: address, server_port: port } = facts;
  const host = address && !["api.openai.com", "api.anthropic.com"].includes(address) && `http${port === 443 ? "s" : ""}://${address}${port ? `:${port}` : ""}`;
  const model = facts.request_model ?? facts.response_model;
  const tools = payload.tools?.length ? payload.tools.map(({ parameters, ...tool }) => {
    const named = { name: tool.name, description: tool.description ?? undefined };
    return anthropic ? { ...named, input_schema: parameters } : { type: "function", function: { ...named, parameters: parameters ?? undefined } };
  }) : undefined;
  const system = (payload.system ?? []).map((part) => part.content ?? "").join("\n");
  const body = anthropic
    ? { model, max_tokens: 1024, ...parameters, system: system || undefined, messages: messages.map(anthropicMessage), tools }
    : { model, ...parameters, messages: [...(system ? [{ role: "system", content: system }] : []), ...messages.flatMap(openaiMessages)], tools };
  const name = anthropic ? "anthropic" : "openai";
  return { url: `${host || `https://api.${name}.com`}/v1/${anthropic ? "messages" : "chat/completions"}`, body, anthropic };
}

function openaiMessages(message) {
  const results = message.parts.filter((part) => part.type === "tool_call_response");
  if (results.length) return results.map((part) => ({ role: "tool", tool_call_id: part.id, content: asText(part.response) }));
  const calls = message.parts.filter((part) => part.type === "tool_call");
  const items = message.parts.filter((part) => !/^(tool_call|reasoning)$/.test(part.type)).map((part) => (part.type === "uri" ? { type: "image_url", image_url: { url: part.uri } } : { type: "text", text: part.content ?? jsonText(part) }));
  const text = items.map((one) => one.text).join("\n");
  return [{ role: message.role, content: items.some((one) => one.image_url) ? items : text || (calls.length ? null : ""), ...(calls.length ? { tool_calls: calls.map((part) => ({ id: part.id, type: "function", function: { name: part.name, arguments: asText(part.arguments) } })) } : {}) }];
}

const anthropicMessage = (message) => ({
  role: message.role === "assistant" ? "assistant" : "user",
  content: message.parts.map((part) => {
    if (part.type === "tool_call") return { type: "tool_use", id: part.id, name: part.name, input: part.arguments };
    if (part.type === "tool_call_response") return { type: "tool_result", tool_use_id: part.id, content: asText(part.response) };
    return { type: "text", text: part.content ?? jsonText(part) };
  }),
});

const asText = (value) => (typeof value === "string" ? value : jsonText(value));

/** A text as one word of a POSIX shell. */
export const quoted = (text) => `'${text.replaceAll("'", `'"'"'`)}'`;

/** JSON in which nothing but plain ASCII stands: no terminal and no shell reads anything into it. */
export const asciiJson = (value, indent = 2) => jsonText(value, indent).replace(/[\u007f-\uffff]/g, escaped);

export async function asCurl(view, row) {
  const { url, body, anthropic } = await request(view, row);
  const auth = anthropic ? ['-H "x-api-key: $ANTHROPIC_API_KEY"', "-H 'anthropic-version: 2023-06-01'"] : ['-H "Authorization: Bearer $OPENAI_API_KEY"'];
  return [`curl ${quoted(url)}`, ...auth, "-H 'content-type: application/json'", `--data-raw ${quoted(asciiJson(body))}`].join(" \\\n  ");
}

export async function asPython(view, row) {
  const made = await request(view, row);
  const body = JSON.stringify(asciiJson(made.body)).replaceAll("\\n", "\\n\"\n    \"");
  const call = made.anthropic ? ["from anthropic import Anthropic", "Anthropic().messages.create"] : ["from openai import OpenAI", "OpenAI().chat.completions.create"];
  return `import json\n\n${call[0]}\n\nrequest = json.loads(\n    ${body}\n)\nprint(${call[1]}(**request))\n`;
}
