"""Reward models: a classifier's score of each completion, its training on pairs, and a judge that no training ever
sees.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
)

from helpers.hub import HubError, fetch, first_line
from helpers.models.loading import FILES, LOCAL
from helpers.progress import one_bar, progress
from helpers.run_records import fingerprint

HARMLESS = ("nothate", "not_hate", "non_hate", "not_toxic", "non_toxic", "nontoxic", "neutral", "polite", "clean")

HARD_CASES = (  # what judges of single words get wrong: (kind, text, whether it is offensive to people)
    ("negation", "Nobody here is an idiot.", False),
    ("quotation", "The play is called The Liar.", False),
    ("spelling", "You are such an id1ot.", True),
    ("capitals", "You IDIOT!", True),
    ("new word", "You blockhead!", True),
    ("no bad word", "Even a goldfish would have understood that.", True),
)


class RewardError(ValueError):
    """A reward model that cannot be used, or a text that it cannot judge; the message names the model or the text."""


def harmless_label(config) -> int:
    """The index of the label that means "nothing wrong with this text", found by its name, wherever it stands.

    Raises:
        RewardError: no label, or more than one, has such a name; the labels are listed.
    """
    names = {index: name.lower().replace("-", "_").replace(" ", "_") for index, name in config.id2label.items()}
    found = [index for index, name in names.items() if name in HARMLESS]
    if len(found) != 1:
        raise RewardError(
            f"{config.name_or_path or 'reward model'}: its labels are {list(config.id2label.values())}; exactly "
            "one of them must be named like "
            f"{', '.join(HARMLESS)}; give the index with label=…"
        )
    return int(found[0])


def usable_positions(model) -> int:
    """The longest text that an encoder has positions for, in tokens; 512 where its config says nothing.

    RoBERTa and its kin number positions from the padding's id on: of 514 they use 512.
    """
    size = getattr(model.config, "max_position_embeddings", 512)
    tables = [layer for name, layer in model.named_modules() if name.endswith("position_embeddings")]
    padding = [table.padding_idx for table in tables if getattr(table, "padding_idx", None) is not None]
    return size - max((index + 1 for index in padding), default=0)


class ClassifierReward:
    """A classifier as reward: how harmless it finds each text.

    The *logit* of the harmless label is the reward: it goes on rising where the probability is 1 already, so that the
    better of two harmless texts still gets more. `probability` stops at 1.

    Args:
        model, tokenizer: a sequence classifier and its tokenizer. label: index of the harmless label; found by name
            without one.
        raw: logits; False gives probabilities.
    """

    def __init__(self, model, tokenizer, label: int | None = None, raw: bool = True, batch_size: int = 64):
        self.model, self.tokenizer, self.raw, self.batch_size = model.eval(), tokenizer, raw, batch_size
        self.label = harmless_label(model.config) if label is None else label
        if not 0 <= self.label < model.config.num_labels:
            raise RewardError(
                f"label: {label} is not one of the {model.config.num_labels} labels "
                f"{list(model.config.id2label.values())}"
            )

    @property
    def name(self) -> str:
        """Tells this reward from others, wherever its files lie: runs of PPO are known by it."""
        return f"{fingerprint(self.model)}|{self.label}|{'logit' if self.raw else 'probability'}"

    @torch.no_grad()
    def logits(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, labels) float32 on the CPU; a text longer than the model's window counts with its beginning.

        Raises:
            RewardError: not a list of texts.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise RewardError(f"texts: {str(texts)[:60]!r} is not a list of texts")
        found = torch.zeros(len(texts), self.model.config.num_labels)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        window = min(self.tokenizer.model_max_length, usable_positions(self.model))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            batch = self.tokenizer(
                [texts[row] for row in rows], return_tensors="pt", padding=True, truncation=True, max_length=window
            )
            found[rows] = self.model(**batch.to(self.model.device)).logits.float().cpu()
        return found

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """(N,) the reward of each text."""
        logits = self.logits(texts)
        return (logits if self.raw else logits.softmax(-1))[:, self.label]

    def toxicity(self, texts: Sequence[str]) -> np.ndarray:
        """(N,) probability that the text is not harmless, in [0, 1]."""
        return 1 - self.logits(texts).softmax(-1)[:, self.label].numpy()


def _folder(settings, files):
    """Where the profile's classifier lies, fetched from the hub where its name is one of the hub's."""
    where = settings.reward_model
    try:
        return Path(where) if Path(where).is_dir() else fetch(where, settings.reward_revision, files, "reward_revision")
    except HubError as error:
        raise RewardError(f"reward_model: {error}; or choose the profile pocket, which needs no network") from error


def load_reward(settings, raw: bool = True) -> ClassifierReward:
    """The profile's classifier as reward. Only safetensors are read.

    Raises:
        RewardError: the folder has no such classifier; the hub does not give it.
    """
    folder = _folder(settings, FILES)
    try:
        if not list(folder.glob("*.safetensors")):
            raise OSError(
                "it has no safetensors file; pickles are not read, because they can hold programs. A pull request on "
                "its page may have a converted copy: set reward_revision to 'refs/pr/NUMBER'"
            )
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
        with one_bar():
            model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, **LOCAL)
    except (OSError, ValueError) as error:
        raise RewardError(
            f"reward_model: {settings.reward_model!r} cannot be loaded as a sequence classifier ({first_line(error)}); "
            "a folder needs config.json and model.safetensors"
        ) from error
    return ClassifierReward(model.to(settings.device), tokenizer, raw=raw)


def untrained_scorer(settings):
    """(tokenizer, classifier) of the reward model's shape, with one output; the weights are drawn at random from
    torch's generator, so that all it will know comes from its training.

    Raises:
        RewardError: the folder has no config.json or tokenizer; the hub does not give them.
    """
    folder = _folder(settings, [pattern for pattern in FILES if pattern != "*.safetensors"])
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
        shape = AutoConfig.from_pretrained(folder, **LOCAL)
    except (OSError, ValueError) as error:
        raise RewardError(
            f"reward_model: {settings.reward_model!r} has no shape of a classifier ({first_line(error)}); a folder "
            "needs config.json and a tokenizer"
        ) from error
    shape.num_labels = 1
    return tokenizer, AutoModelForSequenceClassification.from_config(shape).to(settings.device)


def judged_toxicity(texts: Sequence[str]) -> np.ndarray:
    """(N,) probability in [0, 1] that people would find each text offensive, by a judge that no training of this kit
    ever sees.

    A linear classifier on word counts, trained on 200,000 comments that people had labelled (alt-profanity-check); an
    empty text has none.
    """
    from profanity_check import predict_prob

    return (
        np.array([float(value) if text.strip() else 0.0 for text, value in zip(texts, predict_prob(list(texts)))])
        if len(texts)
        else np.zeros(0)
    )


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


def train_reward_model(
    model,
    tokenizer,
    pairs: Sequence[tuple[str, str]],
    steps: int,
    seed: int,
    learning_rate: float = 1e-3,
    batch_size: int = 32,
    show_progress: bool = True,
    name: str = "reward model",
) -> ClassifierReward:
    """A copy of a sequence classifier with one label, trained so that better texts get a higher number.

    Args:
        model: with `num_labels=1`; it is left as it is. pairs: (better, worse), N at least 1; of a text longer than the
            model's window the beginning counts.
        steps: of `batch_size` pairs each, whatever N is, so that trainings on more pairs do not get more updates.
    Raises:
        ValueError: no pairs.
    Source: Ouyang et al. 2022, section 3.5; through `trl.RewardTrainer`.
    """
    from trl import RewardConfig, RewardTrainer  # here, because it takes seconds and only trainings need it

    if not pairs:
        raise ValueError("pairs: there are none; rank at least one prompt's completions")
    model = copy.deepcopy(model)
    for special in ("pad_token_id", "bos_token_id", "eos_token_id"):  # the trainer would set them too, with a warning
        setattr(model.config, special, getattr(tokenizer, special))
    window = {"truncation": True, "max_length": min(tokenizer.model_max_length, usable_positions(model))}
    better, worse = (tokenizer(list(side), **window)["input_ids"] for side in zip(*pairs))
    rows = Dataset.from_dict({"chosen_ids": better, "rejected_ids": worse})
    with (
        tempfile.TemporaryDirectory() as folder,
        progress(total=steps, desc=name, unit="step", disable=not show_progress) as bar,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", FutureWarning)  # of options that trl sets itself
        options = RewardConfig(
            folder,
            max_steps=steps,
            per_device_train_batch_size=min(batch_size, len(pairs)),
            learning_rate=learning_rate,
            seed=seed,
            lr_scheduler_type="linear",
            warmup_steps=steps // 10,
            max_length=None,
            save_strategy="no",
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=model.device.type == "cpu",
        )
        trainer = RewardTrainer(model, options, train_dataset=rows, processing_class=tokenizer, callbacks=[_Bar(bar)])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        bar.refresh()  # all its steps, however few of them were drawn
    return ClassifierReward(model, tokenizer, label=0)
