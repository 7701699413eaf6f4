"""Sentence vectors: an encoder that was trained so that texts of like meaning lie close to each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F
from transformers import AutoModel

from helpers.models.generation import encode_prompts, evaluating, padded
from helpers.models.loading import as_model_error, model_folder, tokenizer_of, weight_files
from helpers.models.packaged import is_packaged, packaged_folder
from helpers.progress import one_bar, progress
from helpers.settings import Settings

WINDOW = 256  # tokens, with which all-MiniLM-L6-v2 was trained


def load_sentence_encoder(settings: Settings):
    """(tokenizer, model) of `settings.sentence_model`, in float32, on `settings.device`.

    Raises:
        ModelError: see `helpers.models.loading.load_seq2seq` and `helpers.models.packaged.packaged_file`.
    """
    name, kind = settings.sentence_model, ("encoder", "LAB_SENTENCE_MODEL")
    folder = (
        packaged_folder(name) if is_packaged(name) else model_folder(name, settings.sentence_revision, "sentence_model")
    )
    weight_files(name, folder)
    tokenizer = tokenizer_of(name, folder, *kind)
    tokenizer.model_max_length = min(tokenizer.model_max_length, WINDOW)
    with as_model_error(name, *kind), one_bar():
        model = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    return tokenizer, model.to(settings.device).eval()


@torch.inference_mode()
def sentence_vectors(
    model, tokenizer, texts: Sequence[str], *, batch_size: int = 32, show_progress: bool = True
) -> torch.Tensor:
    """A vector of length 1 for each text: the mean over its tokens' last states. Products of two are cosines.

    Args:
        texts: N texts, each of at most 256 tokens; a longer one is refused, since its end would not count.
    Returns:
        (N, d) float32, on the processor.
    Raises:
        helpers.models.generation.GenerationError: an empty text, or one that is too long.
    Source: Reimers and Gurevych 2019, mean pooling; the same numbers as the package sentence-transformers gives.
    """
    rows = encode_prompts(tokenizer, texts)
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    vectors = torch.zeros(len(rows), model.config.hidden_size)
    bar = progress(total=len(rows), desc="vectors", unit="text", disable=not show_progress)
    with bar, evaluating(model):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            input_ids, mask = padded([rows[index] for index in chosen], tokenizer.pad_token_id, model.device)
            states = model(input_ids=input_ids, attention_mask=mask).last_hidden_state  # (B, S, d)
            mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            vectors[chosen] = F.normalize(mean, dim=-1).cpu()
            bar.update(len(chosen))
    return vectors
