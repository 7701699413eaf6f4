"""Reward models from preferences: the pairwise loss, training on pairs of texts, and how often the better text gets the higher score."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from transformers import PrinterCallback, TrainerCallback

from helpers.progress import progress
from helpers.alignment.reward_model import ClassifierReward


def pairwise_loss(better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
    """−log σ(r_better − r_worse), mean over pairs; (N,) scores each. Source: Ouyang et al. 2022, equation 1."""
    return -logsigmoid(better - worse).mean()


def pairwise_accuracy(reward, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """(N,) 1 where the better text of a pair gets the higher score, 0 where it does not, 0.5 for the same score.

    Args:
        reward: texts -> scores; pairs: (better, worse).
    """
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    scores = dict(zip(texts, reward(texts).tolist()))
    return np.array([0.5 + 0.5 * np.sign(scores[better] - scores[worse]) for better, worse in pairs])


class _Bar(TrainerCallback):
    """Moves a progress bar of the kit's, step by step."""

    def __init__(self, bar):
        self.bar = bar

    def on_step_end(self, *_, **__):
        self.bar.update(1)


def train_reward_model(model, tokenizer, pairs: Sequence[tuple[str, str]], steps: int, seed: int, learning_rate: float = 1e-3, batch_size: int = 32,
                       show_progress: bool = True, name: str = "reward model") -> ClassifierReward:
    """A copy of a sequence classifier with one label, trained so that better texts get a higher number.

    Args:
        model: with `num_labels=1`; it is left as it is. pairs: (better, worse), N at least 1.
        steps: of `batch_size` pairs each, whatever N is, so that trainings on more pairs do not get more updates.
    Raises:
        ValueError: no pairs.
    Source: Ouyang et al. 2022, section 3.5; through `trl.RewardTrainer`.
    """
    from trl import RewardConfig, RewardTrainer  # here, because it takes seconds and only trainings need it

    if not pairs:
        raise ValueError("pairs: there are none; rank at least one prompt's completions")
    model = copy.deepcopy(model)
    for special in ("pad_token_id", "bos_token_id", "eos_token_id"):     # the trainer would set them too, with a warning
        setattr(model.config, special, getattr(tokenizer, special))
    ids = {side: tokenizer([pair[place] for pair in pairs])["input_ids"] for place, side in enumerate(("chosen_ids", "rejected_ids"))}
    with tempfile.TemporaryDirectory() as folder, progress(total=steps, desc=name, unit="step", disable=not show_progress) as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)      # of options that trl sets itself
        options = RewardConfig(folder, max_steps=steps, per_device_train_batch_size=min(batch_size, len(pairs)), learning_rate=learning_rate, seed=seed,
                               lr_scheduler_type="linear", warmup_steps=steps // 10, max_length=None, save_strategy="no", report_to="none",
                               logging_strategy="no", disable_tqdm=True, gradient_checkpointing=False, bf16=False, use_cpu=model.device.type == "cpu")
        trainer = RewardTrainer(model, options, train_dataset=Dataset.from_dict(ids), processing_class=tokenizer, callbacks=[_Bar(bar)])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        bar.refresh()       # all its steps, however few of them were drawn
    return ClassifierReward(model, tokenizer, label=0)
