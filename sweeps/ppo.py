"""The sweep of PPO over KL coefficients: what each policy says of rude and of polite dialogues, by both judges.

python -m sweeps.ppo [--part 1/2] [--results FOLDER]

Points that have a file are skipped, and a stopped run goes on from its last checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from helpers.alignment.policy import Policy
from helpers.alignment.policy_evaluation import evaluate_policy
from helpers.alignment.ppo_trainer import PPOConfig, PPOTrainer
from helpers.alignment.reward_model import load_reward
from helpers.data.loading import load_dialogues
from helpers.data.pairs import encode_pairs, summary_pairs
from helpers.data.prompts import build_prompt
from helpers.evaluation.experiments import by_part, clusters_of, rude_rows
from helpers.models.loading import load_seq2seq
from helpers.settings import load_settings, seed_everything
from helpers.training.finetuning_methods import full
from helpers.training.trainer import train
from sweeps import RESULTS, SEEDS, Results, command_line

FOLDER, COMMAND = RESULTS / "ppo", "python -m sweeps.ppo"
KL_COEFS = (0.0, 0.05, 0.2, 0.8)
DRAWS = 4  # completions of each dialogue: more than in a lesson, since these results are kept
KEPT_ROUGE = 0.9  # the share of the supervised model's ROUGE-L that a policy must keep for its β to be chosen


@dataclass(frozen=True)
class Point:
    """One run of PPO: a KL coefficient and a seed."""

    kl_coef: float
    seed: int = SEEDS[0]

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"kl{self.kl_coef:g}-s{self.seed}"


def points() -> list[Point]:
    """All points, seed after seed."""
    return [Point(kl_coef, seed) for seed in SEEDS for kl_coef in KL_COEFS]


class Bench:
    """What all points share: the supervised model, the reward model, prompts, and the dialogues that are measured
    on.
    """

    def __init__(self, settings, work: Path):
        self.settings, self.reward, data = settings, load_reward(settings), load_dialogues(settings)
        self.tokenizer, base = load_seq2seq(settings)
        self.supervised = train(
            base,
            self.tokenizer,
            self._pairs(data["train"]),
            self._pairs(list(data["validation"])[:100]),
            full(),
            settings,
            work,
            name="full",
        ).model
        self.prompts = [build_prompt(row["dialogue"]) for row in rude_rows(data["train"])]
        known = next(iter(by_part(data["test"]).values()))
        rude = rude_rows(known)
        self.rows = {
            "rude": rude[: settings.test_rows],
            "polite": [row for row in known if row not in rude][: len(rude)],
            "validation": rude_rows(data["validation"]),
        }

    def _pairs(self, rows):
        return encode_pairs(
            *summary_pairs(list(rows)), self.tokenizer, self.settings.max_prompt_tokens, self.settings.max_new_tokens
        )

    def scores(self, policy) -> dict:
        """What the policy says of rude and of polite dialogues, as numbers and texts that fit into a file; of rude
        validation dialogues, which β is chosen with, the numbers alone.
        """
        found = {}
        for kind, rows in self.rows.items():
            evaluation = evaluate_policy(policy, self.tokenizer, rows, self.reward, replace(self.settings, draws=DRAWS))
            found[kind] = {
                name: np.round(value.astype(float), 4).tolist() if isinstance(value, np.ndarray) else value
                for name, value in vars(evaluation).items()
                if kind != "validation" or isinstance(value, np.ndarray)
            }
        return found

    def base(self) -> dict:
        """The supervised model, before any reinforcement."""
        return self.scores(Policy.from_supervised(self.supervised)) | {
            "ids": {kind: [row["id"] for row in rows] for kind, rows in self.rows.items()},
            **{f"{kind}_clusters": clusters_of(rows) for kind, rows in self.rows.items()},
        }

    def measure(self, point: Point, work: Path) -> dict:
        """Trains one policy and scores it; its checkpoints are deleted afterwards."""
        settings = replace(self.settings, seed=point.seed)
        seed_everything(settings)
        config = PPOConfig(
            kl_coef=point.kl_coef, anneal_steps=settings.ppo_steps, max_new_tokens=settings.max_new_tokens
        )
        policy = Policy.from_supervised(self.supervised, seed=point.seed)
        trainer = PPOTrainer(policy, self.tokenizer, self.reward, self.prompts, config, point.seed, work)
        result = trainer.run(settings.ppo_steps)
        found = {
            "point": asdict(point),
            "config": asdict(config),
            "history": result.history,
            "stopped": result.stopped,
        } | self.scores(policy)
        shutil.rmtree(trainer.folder)
        return found


def chosen_among(results: Results, points: Mapping[float, object]) -> float:
    """The β that is chosen, from rude validation dialogues alone.

    Of those whose policies keep the share `KEPT_ROUGE` of ROUGE-L, it is the largest whose toxicity by the independent
    judge is within one standard error of the lowest.

    Args:
        points: β -> its point, with any seed.
    Source: the one-standard-error rule of Breiman et al. 1984, section 3.4.3; the error is that over seeds.
    """
    on_validation = partial(results.scores, within=("validation",))
    floor = KEPT_ROUGE * on_validation("base", "rougeL").mean()
    kept = {beta: point for beta, point in points.items() if on_validation(point, "rougeL").mean() >= floor}
    judged = {beta: on_validation(point, "judged").mean(1) for beta, point in kept.items()}  # of each seed
    lowest = min(judged.values(), key=np.mean)
    limit = lowest.mean() + lowest.std(ddof=1) / len(lowest) ** 0.5
    return max(beta for beta, found in judged.items() if found.mean() <= limit)


def chosen_kl_coef(results: Results) -> float:
    """The β that the kit uses."""
    return chosen_among(results, {beta: Point(beta) for beta in KL_COEFS})


if __name__ == "__main__":
    command_line(__doc__.splitlines()[0], {"kl": points()}, lambda work: Bench(load_settings(), work), FOLDER)
