"""Makes a tiny language model, to run a real engine without a download: python scripts/tiny_model.py FOLDER [--seed N]

Two layers of random numbers (Qwen 2's shape, a hundred thousand of them), a byte-level tokenizer trained on the sentences
below, and a chat template that offers tools and takes calls in the Hermes form. It says nothing that makes sense, so it is the
best adversary that a check of tool calls can have. Needs torch, transformers and tokenizers, which vLLM brings along.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SENTENCES = (
    "You are a helpful assistant. You may call one or more functions to assist with the user query.",
    "What is the weather in Paris today? It is 21 degrees and sunny. And in Berlin? Rain is expected.",
    'For each function call, return a json object: {"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}',
    '{"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}, "required": []}}}',
    '[{"a": true, "b": false, "c": null, "d": -1.5e3, "e": [1, 2, 3]}] unit celsius fahrenheit query limit number string',
    "The quick brown fox jumps over the lazy dog. 0123456789 etc. Yes, no, ok; why: because (of that)!",
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CALL_TAGS = ("<tool_call>", "</tool_call>")

TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' + tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\nCall: <tool_call>\\n{"name": <name>, "arguments": <object>}\\n</tool_call><|im_end|>\\n' }}
{%- elif messages[0]['role'] == 'system' %}
{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message['role'] == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message['content'] | string + '\\n</tool_response><|im_end|>\\n' }}
{%- elif not (loop.first and message['role'] == 'system') %}
{{- '<|im_start|>' + message['role'] + '\\n' + (message['content'] or '') }}
{%- for call in message['tool_calls'] or [] %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


def make(folder: Path, seed: int = 0, *, hidden: int = 64, layers: int = 2) -> Path:
    """The model's folder; made if it is not there. ``hidden``, ``layers``: its size, for a model that takes its time.

    In float16: of float32 vLLM makes bfloat16, for which it uses a processor's matrix instructions (AMX) where there are any,
    also in a process that the system has not allowed them, which ends there and then.
    """
    config = folder / "config.json"
    if (folder / "model.safetensors").is_file() and '"float16"' in config.read_text(encoding="utf-8"):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    tokens = _tokenizer(folder)
    _model(folder, tokens, seed, hidden, layers)
    return folder


def _tokenizer(folder: Path) -> int:
    """Train it, save it; how many tokens it has."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=list(SPECIAL), show_progress=False),
    )
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in CALL_TAGS])
    ends = {"eos_token": SPECIAL[2], "pad_token": SPECIAL[0]}
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE, **ends)
    made.save_pretrained(folder)
    return len(made)


def _model(folder: Path, tokens: int, seed: int, hidden: int, layers: int) -> None:
    import torch
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=(tokens + 31) // 32 * 32,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=2,
        pad_token_id=0,
    )
    config.dtype = torch.float16
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)
    model.generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0)
    model.half().save_pretrained(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(make(args.folder, args.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
