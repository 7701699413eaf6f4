"""Generation: prompts in, completions out, in batches of similar length, with encoder-decoders and with decoders.

Also the generation parameters: names, neutral values and rules, and the check that finds a misspelt or useless one.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, StoppingCriteria
from transformers.modeling_outputs import BaseModelOutput

from helpers.models.characters import half_character
from helpers.progress import progress

FEWEST = 8  # rows: a smaller batch is decoded to its end, since another round costs more than it saves
# What a parameter does when it is not given: nothing. Neither the model's own generation settings nor the library's
# hidden ones (top_k=50 as soon as one samples) take part.
NEUTRAL = {
    "max_new_tokens": 64,
    "min_new_tokens": 0,
    "do_sample": False,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "num_beams": 1,
    "length_penalty": 1.0,
    "early_stopping": False,
    "no_repeat_ngram_size": 0,
    "repetition_penalty": 1.0,
}
FOR_SAMPLING = ("temperature", "top_k", "top_p")
FOR_BEAMS = ("length_penalty", "early_stopping")
ELSEWHERE = {
    "num_return_sequences": "repeat the prompt in the list instead, once for each completion wanted",
    "max_length": "use max_new_tokens, which counts the completion alone",
    "min_length": "use min_new_tokens, which counts the completion alone",
}
TOKEN_IDS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
)


def end_ids(config) -> list[int]:
    """The ids that end a completion, for a GenerationConfig that has one or several."""
    return config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]


class MostHaveEnded(StoppingCriteria):
    """Ends a round once three of four rows have ended."""

    def __init__(self, ends):
        self.ends = torch.tensor(ends)

    def ended(self, ids):
        """(B, 1 + T) token ids, start token first -> (B,) whether there is an end token."""
        return torch.isin(ids[:, 1:], self.ends.to(ids.device)).any(1)

    def __call__(self, input_ids, scores, **_):
        stop = len(input_ids) >= FEWEST and self.ended(input_ids).float().mean() >= 0.75
        return torch.full((len(input_ids),), bool(stop), device=input_ids.device)


def _can_shrink(model, config):
    """Sampling would draw other numbers for other batches, beams are rows of their own, a minimum of new tokens is
    counted from a round's start, and virtual tokens stand before the encoder. A decoder has no encoder to leave.
    """
    virtual = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    if not model.config.is_encoder_decoder:
        return False
    return config.num_beams == 1 and not config.do_sample and not config.min_new_tokens and not virtual


def decode(model, input_ids, mask, config) -> list[list[int]]:
    """B lists of ids, as `model.generate` gives them; what follows an end token says nothing.

    Those of an encoder-decoder begin with the start token, those of a decoder with the prompt.

    Args:
        input_ids, mask: (B, S), padded on the right for an encoder, on the left for a decoder.
        config: a GenerationConfig with max_new_tokens.
    """
    if not _can_shrink(model, config):
        return model.generate(input_ids=input_ids, attention_mask=mask, generation_config=config).tolist()
    states = model.get_encoder()(input_ids=input_ids, attention_mask=mask).last_hidden_state
    criterion, outputs = MostHaveEnded(end_ids(config)), [None] * len(mask)
    rows, written = (
        torch.arange(len(mask), device=mask.device),
        None,
    )  # whose completions go on, and what they say so far
    while len(rows):
        config_left = copy.copy(config)
        config_left.max_new_tokens = config.max_new_tokens - (0 if written is None else written.shape[1] - 1)
        written = model.generate(
            encoder_outputs=BaseModelOutput(states),
            attention_mask=mask,
            decoder_input_ids=written,
            generation_config=config_left,
            stopping_criteria=[criterion],
        )  # (rows, 1 + T)
        over = criterion.ended(written) | (written.shape[1] > config.max_new_tokens)
        for row, ids in zip(rows[over].tolist(), written[over].tolist()):
            outputs[row] = ids
        width = int(mask[~over].sum(1).max()) if not over.all() else 0
        rows, written, states, mask = rows[~over], written[~over], states[~over, :width], mask[~over, :width]
    return outputs


class GenerationError(ValueError):
    """A prompt or a parameter with which nothing can be generated; the message names it, its value and the remedy."""


def positions(config) -> float:
    """The longest text that a model has positions for, in tokens; T5's relative positions have no end."""
    found = (getattr(config, name, None) for name in ("max_encoder_position_embeddings", "max_position_embeddings"))
    return next((size for size in found if size), float("inf"))


def completion_positions(config) -> float:
    """The longest completion that an encoder-decoder has positions for, in tokens, the start token included."""
    return getattr(config, "max_decoder_position_embeddings", None) or positions(config)


def is_whole(value, least):
    """Whether a value is a whole number (no bool) of at least `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def _number(value, test):
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and test(float(value))
    except OverflowError:  # a whole number beyond the largest float
        return False


RULES = {
    "max_new_tokens": ("a whole number of at least 1", lambda value: is_whole(value, 1)),
    "min_new_tokens": ("a whole number of at least 0", lambda value: is_whole(value, 0)),
    "do_sample": ("True or False", lambda value: isinstance(value, bool)),
    "temperature": (
        "a number above 0 (towards 0 it nears greedy decoding: do_sample=False)",
        lambda value: _number(value, lambda x: 0 < x < float("inf")),
    ),
    "top_k": ("a whole number: 0 keeps all tokens, 50 the 50 likeliest", lambda value: is_whole(value, 0)),
    "top_p": ("a number above 0 and at most 1", lambda value: _number(value, lambda x: 0 < x <= 1)),
    "num_beams": ("a whole number of at least 1", lambda value: is_whole(value, 1)),
    "length_penalty": ("a finite number", lambda value: _number(value, lambda x: abs(x) < float("inf"))),
    "early_stopping": ('True, False or "never"', lambda value: isinstance(value, bool) or value == "never"),
    "no_repeat_ngram_size": ("a whole number: 0 allows repetition", lambda value: is_whole(value, 0)),
    "repetition_penalty": ("a number above 0", lambda value: _number(value, lambda x: 0 < x < float("inf"))),
}


def check_parameters(parameters) -> dict:
    """The given parameters with the neutral value of all the others, each of the type of that value.

    transformers refuses 2 where it wants 2.0, and numbers of numpy.

    Args:
        parameters: mapping of names in `NEUTRAL` to values.
    Raises:
        GenerationError: an unknown name (the nearest known one is offered), a value out of range, or parameters that
            contradict each other: temperature, top_k or top_p without sampling, beams with sampling, a penalty on the
            length or early stopping without beams, a minimum above the maximum.
    """
    for name, value in parameters.items():
        if name not in NEUTRAL:
            near = difflib.get_close_matches(name, NEUTRAL, n=1)
            advice = ELSEWHERE.get(name) or (f"did you mean {near[0]}?" if near else f"known are {', '.join(NEUTRAL)}")
            raise GenerationError(f"{name}={value!r}: no such generation parameter; {advice}")
        wanted, holds = RULES[name]
        if not holds(value):
            raise GenerationError(f"{name}={value!r}: it must be {wanted}")
    settings = NEUTRAL | {
        name: value if isinstance(value, str) else type(NEUTRAL[name])(value) for name, value in parameters.items()
    }
    for names, needed, missing in (
        (FOR_SAMPLING, "do_sample=True", not settings["do_sample"]),
        (FOR_BEAMS, "num_beams of at least 2", settings["num_beams"] == 1),
    ):
        idle = [f"{name}={parameters[name]!r}" for name in names if name in parameters]
        if idle and missing:
            raise GenerationError(
                f"{', '.join(idle)}: without effect unless {needed} is given too; add that, or leave it out"
            )
    if settings["num_beams"] > 1 and settings["do_sample"]:
        raise GenerationError(
            f"num_beams={settings['num_beams']} with do_sample=True: beam search seeks the likeliest text, "
            "sampling a random one; choose one of the two"
        )
    if settings["min_new_tokens"] > settings["max_new_tokens"]:
        raise GenerationError(
            f"min_new_tokens={settings['min_new_tokens']} is above "
            f"max_new_tokens={settings['max_new_tokens']}; raise the maximum or lower the minimum"
        )
    return settings


def check_positions(config, rows: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Whether a model has positions for these completions; in a decoder the prompt takes its share of them.

    Args:
        config: of the model; rows: the token ids of the prompts.
    Raises:
        GenerationError: it has too few; the message says how many there are, and what to ask for.
    """
    if config.is_encoder_decoder:
        longest = completion_positions(config)
        if max_new_tokens >= longest:
            raise GenerationError(
                f"max_new_tokens={max_new_tokens}: this model has {longest} positions, one of them for the "
                f"start token; ask for at most {longest - 1}"
            )
        return
    for index, row in enumerate(rows):
        if len(row) + max_new_tokens > positions(config):
            raise GenerationError(
                f"prompts[{index}] has {len(row)} tokens, and max_new_tokens={max_new_tokens} more may follow; the "
                f"model's window holds {positions(config)} in all; shorten the prompt, or ask for fewer tokens"
            )


def encode_prompts(tokenizer, prompts: Sequence[str]) -> list[list[int]]:
    """The token ids of each prompt; the tokenizer of an encoder-decoder adds an end token.

    Raises:
        GenerationError: not a list of texts, an empty prompt, or one longer than the tokenizer's `model_max_length`
            (nothing is cut); the message names its index.
    """
    if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
        raise GenerationError(
            f"prompts: {str(prompts)[:60]!r} is not a list of texts; for a single prompt write [prompt]"
        )
    for index, prompt in enumerate(prompts):
        if not prompt.strip():
            raise GenerationError(f"prompts[{index}]: {prompt!r} is empty; give the model something to read")
        if what := half_character(prompt):
            raise GenerationError(f"prompts[{index}]: {prompt[:60]!r} {what}; write the character again")
    rows = tokenizer(list(prompts), truncation=False, verbose=False)["input_ids"] if len(prompts) else []
    for index, row in enumerate(rows):
        if len(row) > tokenizer.model_max_length:
            raise GenerationError(
                f"prompts[{index}] has {len(row)} tokens, the model's window holds "
                f"{tokenizer.model_max_length}; drop examples (helpers.data.prompts.fit_prompt) or shorten it"
            )
    return rows


@contextmanager
def evaluating(model) -> Iterator[None]:
    """Evaluation mode (no dropout) inside, each module's own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def only_these_settings(model, config) -> Iterator[None]:
    """`config` as the model's own settings: `generate` fills every gap from those, unasked."""
    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    kept, owner.generation_config = owner.generation_config, config
    try:
        yield
    finally:
        owner.generation_config = kept


@contextmanager
def random_stream(seed: int | None, device) -> Iterator[None]:
    """The random stream of `seed`, the global one untouched; without a seed the global one, which then moves on."""
    if seed is None:
        yield
        return
    if not is_whole(seed, 0):
        raise GenerationError(f"seed={seed!r}: it must be a whole number of at least 0, or None")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed))
        yield


def to_generation_config(model, settings: dict) -> GenerationConfig:
    """A configuration with the model's special tokens and these settings, and nothing else."""
    ids = {name: getattr(model.config, name, None) for name in TOKEN_IDS}
    ids = {
        name: getattr(model.generation_config, name, None) if value is None else value for name, value in ids.items()
    }
    sampling = {name: settings[name] for name in FOR_SAMPLING} if settings["do_sample"] else {}
    beams = {name: settings[name] for name in FOR_BEAMS} if settings["num_beams"] > 1 else {}
    rest = {name: value for name, value in settings.items() if name not in FOR_SAMPLING + FOR_BEAMS}
    return GenerationConfig(**ids, **rest, **sampling, **beams)


def generate_ids(model, tokenizer, prompts, *, batch_size=32, show_progress=True, seed=None, **parameters):
    """`generate` without the last step: the token ids of each completion, up to but without the end token."""
    settings = check_parameters(parameters)
    if not is_whole(batch_size, 1):
        raise GenerationError(f"batch_size={batch_size!r}: it must be a whole number of at least 1")
    rows = encode_prompts(tokenizer, prompts)
    check_positions(model.config, rows, settings["max_new_tokens"])
    order = sorted(
        range(len(rows)), key=lambda index: -len(rows[index])
    )  # longest first: what needs most memory fails first
    config, completions = to_generation_config(model, settings), [None] * len(rows)
    bar = progress(total=len(rows), desc="generating", unit="prompt", disable=not show_progress)
    with (
        bar,
        evaluating(model),
        only_these_settings(model, config),
        random_stream(seed, model.device),
        torch.inference_mode(),
    ):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            side = "right" if model.config.is_encoder_decoder else "left"
            input_ids, mask = padded([rows[index] for index in chosen], config.pad_token_id, model.device, side)
            outputs = decode(model, input_ids, mask, config)
            begin = 1 if model.config.is_encoder_decoder else input_ids.shape[1]  # the start token; the prompt
            for index, output in zip(chosen, outputs):
                completions[index] = _completion(output[begin:], config)
            bar.update(len(chosen))
    return completions


def padded(rows: list[list[int]], pad_token_id: int, device, side: str = "right") -> tuple[torch.Tensor, torch.Tensor]:
    """input_ids and attention_mask, (B, S) each, padded to the longest row.

    Args:
        side: "right" for an encoder; "left" for a decoder, whose next token must stand right behind the prompt.
    """
    tensors = [torch.tensor(row) for row in rows]
    input_ids = pad_sequence(tensors, batch_first=True, padding_value=pad_token_id, padding_side=side)
    attention_mask = pad_sequence([torch.ones_like(tensor) for tensor in tensors], batch_first=True, padding_side=side)
    return input_ids.to(device), attention_mask.to(device)


def _completion(ids, config):
    """The ids before the first end token; padding follows only after it."""
    ends = end_ids(config)
    return ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids))]


def generate(
    model,
    tokenizer,
    prompts: Sequence[str],
    *,
    batch_size: int = 32,
    show_progress: bool = True,
    seed: int | None = None,
    **parameters,
) -> list[str]:
    """One completion for each prompt, in the order of the prompts: special tokens removed, white space at the ends too.

    Prompts of similar length share a batch, which is padded to its longest one.

    Args:
        model, tokenizer: an encoder-decoder or a decoder of transformers (or a PEFT model around one), and
            its tokenizer.
        prompts: N texts, as the model reads them: `helpers.models.chat_prompt` writes a conversation in this form.
            For several completions of one prompt, repeat it.
        batch_size: prompts generated together; more memory, the same greedy completions.
        seed: of the sampling. The same seed repeats the completions bit for bit as long as the list of prompts, the
            batch size, the parameters and the machine stay the same; the global random stream is left alone. Without
            one, sampling draws from the global stream.
        parameters: names in `helpers.models.generation.NEUTRAL`, which also gives the values of those left out: greedy,
            64 tokens. The model's own defaults (`generation_config`) have no say.
    Returns:
        N texts.
    Raises:
        GenerationError: before anything runs; see `helpers.models.generation.check_parameters` and `encode_prompts`.
    Source: `transformers.GenerationMixin.generate`, with nothing changed but the batching: in greedy decoding, rows
        that have ended leave their batch.
    """
    completions = generate_ids(
        model, tokenizer, prompts, batch_size=batch_size, show_progress=show_progress, seed=seed, **parameters
    )
    return [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in completions]
