"""Lab 3 computes PPO's terms by hand and compares them with the helper. Here each term is broken in turn, as a learner
might break it, and the comparison must notice.
"""

from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from helpers import table
from helpers.alignment.policy import Policy
from helpers.alignment.ppo_trainer import PPOConfig, PPOTrainer
from helpers.training.finetuning_methods import ATTENTION, lora
from tests.alignment.ppo_cases import Brevity
from tests.conftest import DIALOGUES

LAB = Path(__file__).parents[2] / "labs" / "03_ppo_detoxification.ipynb"
TOLERANCE = 1e-3  # of the lab's claim
# Tag of a cell: (what stands there, what a learner might write).
MISTAKES = {
    "term:rewards": [
        ("-beta * (logprobs - reference) * mask", "beta * (logprobs - reference) * mask"),
        ("-beta * (logprobs - reference) * mask", "-beta * (reference - logprobs) * mask"),
        ("-beta * (logprobs - reference) * mask", "0 * (logprobs - reference) * mask"),
        ("mask.sum(1) - 1] += scores", "mask.sum(1) - 1] -= scores"),
        ("mask.sum(1) - 1] += scores", "0] += scores"),
        ("policy.model.disable_adapter()", "torch.no_grad()"),
    ],
    "term:advantages": [
        ("rewards[:, t] + gamma * following - values[:, t]", "rewards[:, t] + gamma * following + values[:, t]"),
        ("rewards[:, t] + gamma * following - values[:, t]", "rewards[:, t] + following - values[:, t]"),
        ("rewards[:, t] + gamma * following - values[:, t]", "rewards[:, t] - values[:, t]"),
        ("delta + gamma * lam * running", "delta + lam * running"),
        ("delta + gamma * lam * running", "delta + gamma * running"),
        ("delta + gamma * lam * running", "delta"),
        ("(advantages + values) * mask", "(advantages - values) * mask"),
    ],
    "term:whitening": [
        ("(values - kept.mean()) / kept.std()", "values / kept.std()"),
        ("(values - kept.mean()) / kept.std()", "(values - kept.mean())"),
        ("kept = values[mask]", "kept = values.flatten()"),
    ],
    "term:policy": [
        ("(new - old).exp()", "(old - new).exp()"),
        ("torch.max(", "torch.min("),
        ("-advantages * ratio, -advantages * clipped", "advantages * ratio, advantages * clipped"),
        ("1 - epsilon, 1 + epsilon", "1 - 2 * epsilon, 1 + 2 * epsilon"),
        ("[mask].mean()", ".mean()"),
    ],
    "term:losses": [
        (".mean() / 2", ".mean()"),
        ("torch.max((new - returns)", "torch.min((new - returns)"),
        ("old - epsilon), old + epsilon", "old - epsilon / 4), old + epsilon / 4"),
        ("return -(logprobs.exp()", "return (logprobs.exp()"),
        ("- study.entropy_coef * entropy", "+ study.entropy_coef * entropy"),
        ("+ study.vf_coef * loss_value", "+ loss_value"),
    ],
}
CASES = [(tag, *mistake) for tag, mistakes in MISTAKES.items() for mistake in mistakes]


def tagged_cells():
    cells = nbformat.read(LAB, as_version=4).cells
    return {tag: cell.source for cell in cells for tag in cell.metadata.get("tags", []) if tag.startswith("term:")}


CELLS = tagged_cells()


@pytest.fixture(scope="module")
def names(tiny_model, tiny_tokenizer):
    """What the lab has at hand when it comes to the terms, on a small untrained scale."""
    setup = next(
        cell.source
        for cell in nbformat.read(LAB, as_version=4).cells
        if cell.source.startswith("import copy") and "nudged" in cell.source
    )
    found = {"torch": torch, "np": np, "table": table}
    exec(compile(setup.split("study = PPOConfig(")[0], "setup", "exec"), found)
    supervised = Policy.from_supervised(tiny_model, lora(4, ATTENTION, alpha=8), seed=1)
    study = PPOConfig(
        batch_size=6,
        mini_batch_size=3,
        max_new_tokens=12,
        kl_coef=0.3,
        gamma=0.98,
        lam=0.9,
        entropy_coef=0.02,
        cliprange_value=0.2,
    )
    writer = found["nudged"](supervised, seed=1, size=0.3)
    experience, _ = PPOTrainer(writer, tiny_tokenizer, Brevity(), DIALOGUES, study, 3).experience(DIALOGUES)
    moved = found["nudged"]
    return found | {
        "nudged": lambda policy, seed: moved(policy, seed, size=0.3),
        **{"study": study, "writer": writer, "experience": experience, "roll": experience.rollout},
        "mask": experience.mask,
    }


def difference(names, changed="", was="", now=""):
    """The largest relative difference between a term by hand and the helper's, with one cell changed."""
    space = dict(names)
    for tag in ("rewards", "advantages", "whitening", "policy", "losses", "compare"):
        source = CELLS[f"term:{tag}"]
        if f"term:{tag}" == changed:
            assert was in source, (tag, was)
            source = source.replace(was, now)
        exec(compile(source, tag, "exec"), space)
    return max(abs(ours - theirs) / max(1e-6, abs(theirs)) for ours, theirs in space["pairs"].values())


def test_the_terms_of_the_lab_are_the_helpers(names):
    assert names["mask"].any(1).all() and not names["mask"].all(), "completions of one length would hide a lost mask"
    assert difference(names) < TOLERANCE / 10


@pytest.mark.parametrize(("tag", "was", "now"), CASES, ids=[f"{tag[5:]}: {now}" for tag, _, now in CASES])
def test_a_mistake_in_a_term_is_noticed(names, tag, was, now):
    assert difference(names, tag, was, now) > TOLERANCE
