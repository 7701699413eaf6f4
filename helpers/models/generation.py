"""Generation: prompts in, completions out, in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig

from helpers.models.parameters import FOR_BEAMS, FOR_SAMPLING, GenerationError, check_parameters, is_whole
from helpers.progress import progress
from helpers.models.rounds import decode, end_ids

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id",
             "forced_eos_token_id")


def encode_prompts(tokenizer, prompts: Sequence[str]) -> list[list[int]]:
    """The token ids of each prompt, end token included.

    Raises:
        GenerationError: not a list of texts, an empty prompt, or one longer than the tokenizer's `model_max_length`
            (nothing is cut); the message names its index.
    """
    if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
        raise GenerationError(f"prompts: {str(prompts)[:60]!r} is not a list of texts; for a single prompt write [prompt]")
    for index, prompt in enumerate(prompts):
        if not prompt.strip():
            raise GenerationError(f"prompts[{index}]: {prompt!r} is empty; give the model something to read")
    rows = tokenizer(list(prompts), truncation=False, verbose=False)["input_ids"] if len(prompts) else []
    for index, row in enumerate(rows):
        if len(row) > tokenizer.model_max_length:
            raise GenerationError(f"prompts[{index}] has {len(row)} tokens, the model's window holds "
                                  f"{tokenizer.model_max_length}; drop examples (helpers.data.prompts.fit_prompt) or shorten it")
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
def _only(model, config):
    """`config` as the model's own settings: `generate` fills every gap from those, unasked."""
    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    kept, owner.generation_config = owner.generation_config, config
    try:
        yield
    finally:
        owner.generation_config = kept


@contextmanager
def _randomness(seed, device):
    """The random stream of `seed`, the global one untouched; without a seed the global one, which then moves on."""
    if seed is None:
        yield
        return
    if not is_whole(seed, 0):
        raise GenerationError(f"seed={seed!r}: it must be a whole number of at least 0, or None")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed))
        yield


def _config(model, settings):
    """A configuration with the model's special tokens and these settings, and nothing else."""
    ids = {name: getattr(model.config, name, None) for name in TOKEN_IDS}
    ids = {name: getattr(model.generation_config, name, None) if value is None else value for name, value in ids.items()}
    sampling = {name: settings[name] for name in FOR_SAMPLING} if settings["do_sample"] else {}
    beams = {name: settings[name] for name in FOR_BEAMS} if settings["num_beams"] > 1 else {}
    rest = {name: value for name, value in settings.items() if name not in FOR_SAMPLING + FOR_BEAMS}
    return GenerationConfig(**ids, **rest, **sampling, **beams)


def generate_ids(model, tokenizer, prompts, *, batch_size=32, show_progress=True, seed=None, **parameters):
    """`generate` without the last step: the token ids of each completion, up to but without the end token."""
    settings = check_parameters(parameters)
    if not is_whole(batch_size, 1):
        raise GenerationError(f"batch_size={batch_size!r}: it must be a whole number of at least 1")
    if not model.config.is_encoder_decoder:
        raise GenerationError(f"model: {type(model).__name__} has no encoder; this function needs an encoder-decoder like T5")
    rows = encode_prompts(tokenizer, prompts)
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))    # longest first: what needs most memory fails first
    config, completions = _config(model, settings), [None] * len(rows)
    bar = progress(total=len(rows), desc="generating", unit="prompt", disable=not show_progress)
    with bar, evaluating(model), _only(model, config), _randomness(seed, model.device), torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start:start + batch_size]
            input_ids, mask = _padded([rows[index] for index in chosen], config.pad_token_id, model.device)
            outputs = decode(model, input_ids, mask, config)
            for index, output in zip(chosen, outputs):
                completions[index] = _completion(output[1:], config)
            bar.update(len(chosen))
    return completions


def _padded(rows, pad_token_id, device):
    """input_ids and attention_mask, (B, S) each, padded on the right to the longest row."""
    tensors = [torch.tensor(row) for row in rows]
    input_ids = pad_sequence(tensors, batch_first=True, padding_value=pad_token_id)
    attention_mask = pad_sequence([torch.ones_like(tensor) for tensor in tensors], batch_first=True)
    return input_ids.to(device), attention_mask.to(device)


def _completion(ids, config):
    """The ids before the first end token; padding follows only after it."""
    ends = end_ids(config)
    return ids[:next((place for place, token in enumerate(ids) if token in ends), len(ids))]


def generate(model, tokenizer, prompts: Sequence[str], *, batch_size: int = 32, show_progress: bool = True,
             seed: int | None = None, **parameters) -> list[str]:
    """One completion for each prompt, in the order of the prompts: special tokens removed, white space at the ends too.

    Prompts of similar length share a batch, which is padded to its longest one.

    Args:
        model, tokenizer: an encoder-decoder model of transformers (or a PEFT model around one) and its tokenizer.
        prompts: N texts. For several completions of one prompt, repeat it.
        batch_size: prompts generated together; more memory, the same greedy completions.
        seed: of the sampling. The same seed repeats the completions bit for bit as long as the list of prompts, the
            batch size, the parameters and the machine stay the same; the global random stream is left alone. Without
            one, sampling draws from the global stream.
        parameters: names in `helpers.models.parameters.NEUTRAL`, which also gives the values of those left out: greedy, 64 tokens. The model's
            own defaults (`generation_config`) have no say.
    Returns:
        N texts.
    Raises:
        GenerationError: before anything runs; see `helpers.models.parameters.check_parameters` and `encode_prompts`.
    Source: `transformers.GenerationMixin.generate`, with nothing changed but the batching: in greedy decoding, rows that have ended leave their batch.
    """
    completions = generate_ids(model, tokenizer, prompts, batch_size=batch_size, show_progress=show_progress, seed=seed,
                               **parameters)
    return [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in completions]
