"""Constrained decoding: at every step only tokens with which the text can still match a grammar."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from transformers import LogitsProcessor, LogitsProcessorList

from helpers.models.generation import (
    GenerationError,
    check_parameters,
    check_positions,
    encode_prompts,
    end_ids,
    evaluating,
    only_these_settings,
    padded,
    to_generation_config,
)
from helpers.progress import progress

COMPACT = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}


def schema_grammar(schema: dict) -> str:
    """The grammar of all JSON texts on one line that a JSON schema allows.

    Raises:
        GenerationError: a schema that the library cannot follow.
    Source: `llguidance.LLMatcher.grammar_from_json_schema`.
    """
    return _checked(LLMatcher.grammar_from_json_schema(json.dumps(schema | COMPACT)), "schema")


def quote_grammar(sources: Sequence[str], most: int = 40) -> str:
    """The grammar of a citation: `[2] "words"`, where the words stand in source 2 as they are.

    Args:
        sources: N texts, numbered from 1; most: the longest quotation, in words.
    Raises:
        GenerationError: no source, or one without a word.
    Source: substrings of `llguidance`'s Lark grammars.
    """
    if not sources or not all(re.search(r"\w", text) for text in sources):
        raise GenerationError("sources: give at least one text, and none without a word")
    rules = [f"start: {' | '.join(f's{number}' for number in range(1, len(sources) + 1))}"]
    for number, text in enumerate(sources, 1):
        rules.append(f's{number}: "[{number}] \\"" Q{number} "\\""')
        rules.append(f"Q{number}: %regex {json.dumps({'substring_words': text})}")
    return _checked(LLMatcher.grammar_from_lark("\n".join(rules)), "sources")


def _checked(grammar, name):
    wrong = LLMatcher.validate_grammar(grammar)
    if wrong:
        raise GenerationError(f"{name}: no grammar can be made of it ({str(wrong)[:200]}); simplify it")
    return grammar


class Matching(LogitsProcessor):
    """Takes every token away after which a row's text could not match its grammar any more; a finished text ends.

    Args:
        vocabulary: tokens as the library reads them; grammars: B texts, one a row; end: id of the end token.
    """

    def __init__(self, vocabulary: LLTokenizer, grammars: Sequence[str], end: int):
        self.matchers, self.end = [LLMatcher(vocabulary, grammar) for grammar in grammars], end
        self.started = False

    def __call__(self, input_ids, scores):
        for row, matcher in enumerate(self.matchers):
            if self.started and not matcher.is_stopped():
                matcher.consume_token(int(input_ids[row, -1]))
            if matcher.is_stopped():
                allowed = np.arange(scores.shape[1]) == self.end
            else:
                bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
                allowed = np.unpackbits(bits, bitorder="little")[: scores.shape[1]].astype(bool)
            scores[row, torch.from_numpy(~allowed).to(scores.device)] = -math.inf
        self.started = True
        return scores


def _repeated(cache, count):
    """A copy of a cache of one row for `count` rows; None without a cache."""
    copied = copy.deepcopy(cache)
    if copied is not None:
        copied.batch_repeat_interleave(count)
    return copied


def generate_matching(
    model,
    tokenizer,
    prompts: Sequence[str],
    grammars: Sequence[str],
    *,
    prefix: str = "",
    max_new_tokens: int = 64,
    batch_size: int = 32,
    show_progress: bool = True,
) -> list[str]:
    """The greedy completion of each prompt among those that match its grammar.

    Args:
        model, tokenizer: a decoder and its fast tokenizer; prompts: N texts.
        grammars: N of `schema_grammar` or `quote_grammar`.
        prefix: stands before all prompts; its keys and values are computed once (*prefix caching*).
    Returns:
        N texts; one that reached `max_new_tokens` may be cut short.
    Raises:
        GenerationError: other numbers of grammars than of prompts; see also `helpers.models.generation.generate`.
    """
    if len(grammars) != len(prompts):
        raise GenerationError(f"grammars: {len(grammars)} for {len(prompts)} prompts; give one for each")
    settings = check_parameters({"max_new_tokens": max_new_tokens})
    rows, first = encode_prompts(tokenizer, prompts), encode_prompts(tokenizer, [prefix] if prefix else [])
    shared = torch.tensor(first, dtype=torch.long).reshape(1, -1).to(model.device)  # (1, P)
    check_positions(model.config, [[*shared[0].tolist(), *row] for row in rows], max_new_tokens)
    vocabulary = from_tokenizer(tokenizer, n_vocab=model.config.vocab_size)
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    config, found = to_generation_config(model, settings), [""] * len(rows)
    bar = progress(total=len(rows), desc="generating", unit="prompt", disable=not show_progress)
    with bar, evaluating(model), only_these_settings(model, config), torch.inference_mode():
        cache = model(shared, use_cache=True).past_key_values if prefix else None
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            input_ids, mask = padded([rows[index] for index in chosen], config.pad_token_id, model.device, "left")
            if prefix:
                input_ids = torch.cat([shared.expand(len(chosen), -1), input_ids], 1)
                mask = torch.cat([torch.ones_like(shared).expand(len(chosen), -1), mask], 1)
            matching = Matching(vocabulary, [grammars[index] for index in chosen], end_ids(config)[0])
            outputs = model.generate(
                input_ids=input_ids,
                attention_mask=mask,
                past_key_values=_repeated(cache, len(chosen)),
                generation_config=config,
                logits_processor=LogitsProcessorList([matching]),
            )
            for index, ids in zip(chosen, outputs[:, input_ids.shape[1] :].tolist()):
                found[index] = tokenizer.decode(ids, skip_special_tokens=True).strip()
            bar.update(len(chosen))
    return found
