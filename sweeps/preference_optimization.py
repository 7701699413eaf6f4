"""The sweep of the ways to learn from preferences: PPO, GRPO, RLOO, DPO and fine-tuning, from one start, with the same
number of judged completions and of updates.

python -m sweeps.preference_optimization [--only rates|methods|pairs] [--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from helpers.alignment.dpo_trainer import DPOConfig, DPOTrainer
from helpers.alignment.group_trainers import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from helpers.alignment.human_feedback import Item, best_and_worst, consensus, politeness, simulated_panel
from helpers.alignment.policy import Policy
from helpers.alignment.policy_evaluation import Evaluation, evaluate_policy, sampled
from helpers.alignment.ppo_trainer import PPOConfig, PPOTrainer
from helpers.alignment.reward_model import load_reward
from helpers.data.loading import load_dialogues
from helpers.data.pairs import encode_pairs, summary_pairs
from helpers.data.prompts import build_prompt
from helpers.evaluation.experiments import by_part, clusters_of, rude_rows
from helpers.evaluation.faithfulness import load_fact_checker
from helpers.evaluation.metrics import repeated_per_text
from helpers.evaluation.statistics import Interval
from helpers.models.loading import load_seq2seq
from helpers.settings import load_settings, seed_everything
from helpers.training.finetuning_methods import full
from helpers.training.trainer import train
from sweeps import RESULTS, Results, command_line
from sweeps.intervals import mean_over_seeds
from sweeps.ppo import KEPT_ROUGE, chosen_among

FOLDER, COMMAND = RESULTS / "preference_optimization", "python -m sweeps.preference_optimization"
SEEDS = (1, 2, 3, 4, 5)
BATCHES, BATCH, GROUP = 6, 128, 8  # judged completions of one training: 6 · 128, in groups of 8 for a prompt
UPDATES, ROWS = 48, 32  # of one training, and completions in each: 6 batches · 2 passes · 4 mini-batches
PARTS = 3  # so many times a policy is measured on its way
ONLINE = {"ppo": (PPOTrainer, PPOConfig), "grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}
KL_COEFS = {"ppo": (0.0, 0.05, 0.2), "grpo": (0.0, 0.05, 0.2), "rloo": (0.0, 0.05, 0.2), "dpo": (0.1, 0.5, 2.0)}
MIDDLE = {method: coefs[1] for method, coefs in KL_COEFS.items()}
RATE = {"ppo": 1e-3, "grpo": 1e-3, "rloo": 1e-3, "dpo": 5e-4}
FACTORS = (0.4, 1.0, 2.5)  # of a rate, tried on validation dialogues
DRAWS = {"rude": 4, "validation": 2}  # completions of each dialogue after a training
MANY_DRAWS = {"rude": 16, "validation": 4}  # and before any, for best-of-n
NOISE = 0.5  # of the panel that ranks
MATTERS = 0.02  # the smallest difference in toxicity that matters to a reader (docs/claims.md)
NUMBERS = ("judged", "toxicity", "reward", "rougeL", "kl", "entropy", "tokens")


@dataclass(frozen=True)
class Point:
    """One training.

    Attributes:
        method: of `KL_COEFS`, or "neutral": fine-tuning on neutral summaries that people wrote.
        kl_coef: β. factor: of the method's learning rate.
        pairs: who orders DPO's completions: the reward model that the others learn from, or the simulated panel.
    """

    method: str
    kl_coef: float = 0.0
    factor: float = 1.0
    pairs: str = "reward"
    seed: int = SEEDS[0]

    @property
    def name(self) -> str:
        """What its file is called."""
        if self.method not in KL_COEFS:
            return f"{self.method}-s{self.seed}"
        parts = [self.method, f"kl{self.kl_coef:g}"]
        parts += [f"x{self.factor:g}"] * (self.factor != 1) + [self.pairs] * (self.pairs != "reward")
        return "-".join([*parts, f"s{self.seed}"])


METHODS = [Point(method, kl_coef) for method, coefs in KL_COEFS.items() for kl_coef in coefs]
NEUTRAL, PANEL = Point("neutral"), Point("dpo", MIDDLE["dpo"], pairs="panel")


def sweeps() -> dict[str, list[Point]]:
    """Name of a sweep -> its points: rates by the first seed alone, all else seed after seed."""

    def every_seed(points):
        return [replace(point, seed=seed) for seed in SEEDS for point in points]

    rates = [Point(method, MIDDLE[method], factor) for method in KL_COEFS for factor in FACTORS]
    return {"rates": rates, "methods": every_seed(METHODS), "pairs": every_seed([PANEL, NEUTRAL])}


class Bench:
    """What all points share: the supervised model, the reward model, prompts, and the dialogues that are measured
    on.
    """

    def __init__(self, settings, work: Path):
        self.settings, self.reward, data = settings, load_reward(settings), load_dialogues(settings)
        self.tokenizer, base = load_seq2seq(settings)
        self.validation = self._encoded(list(data["validation"])[:100])
        start = (base, self.tokenizer, self._encoded(data["train"]), self.validation, full(), settings, work)
        self.supervised = train(*start, name="full").model
        self.rude = rude_rows(data["train"])
        known = next(iter(by_part(data["test"]).values()))
        self.rows = {"rude": rude_rows(known)[: settings.test_rows], "validation": rude_rows(data["validation"])}
        self.checker = load_fact_checker(settings, data)

    def _encoded(self, rows):
        return encode_pairs(
            *summary_pairs(list(rows)), self.tokenizer, self.settings.max_prompt_tokens, self.settings.max_new_tokens
        )

    def measured(self, policy, draws: Mapping[str, int]) -> dict[str, Evaluation]:
        """Kind of dialogues -> what the policy says of them, in so many draws each."""
        return {
            kind: evaluate_policy(
                policy, self.tokenizer, self.rows[kind], self.reward, replace(self.settings, draws=count)
            )
            for kind, count in draws.items()
        }

    def scores(self, policy, draws: Mapping[str, int] = DRAWS) -> dict:
        """What a policy says, as numbers that fit into a file; of rude dialogues the first draw's texts too."""
        found = {}
        for kind, evaluation in self.measured(policy, draws).items():
            found[kind] = {name: np.round(getattr(evaluation, name).astype(float), 4).tolist() for name in NUMBERS}
            facts = [self.checker.per_dialogue(texts, self.rows[kind]) for texts in evaluation.completions]
            for name in ("named", "supported", "broken"):
                found[kind][name] = np.round([each[name].astype(float) for each in facts], 4).tolist()
            repeated = [repeated_per_text(texts) for texts in evaluation.completions]
            found[kind]["repeated"] = np.round(repeated, 4).tolist()
            if kind == "rude":
                found[kind]["texts"] = evaluation.completions[0]
        return found

    def base(self) -> dict:
        """The supervised model, before it has learned from any preference; best-of-n is chosen from its draws."""
        return self.scores(Policy.from_supervised(self.supervised), MANY_DRAWS) | {
            "ids": {kind: [row["id"] for row in rows] for kind, rows in self.rows.items()},
            **{f"{kind}_clusters": clusters_of(rows) for kind, rows in self.rows.items()},
        }

    def pairs(self, point: Point, settings) -> tuple[list[tuple[str, str, str]], float]:
        """DPO's pairs (prompt, better, worse), and the seconds that it took to draw and to order the completions."""
        began, count = time.perf_counter(), BATCHES * BATCH // GROUP
        order = np.random.default_rng(point.seed).permutation(len(self.rude))
        chosen = [self.rude[place] for place in np.resize(order, count)]
        prompts = [build_prompt(row["dialogue"]) for row in chosen for _ in range(GROUP)]
        policy = Policy.from_supervised(self.supervised)
        texts = [
            text for roll in sampled(policy, self.tokenizer, prompts, settings) for text in roll.texts(self.tokenizer)
        ]
        items = {
            f"{row['id']}-{number}": Item(
                f"{row['id']}-{number}", prompts[GROUP * number], tuple(texts[GROUP * number : GROUP * (number + 1)])
            )
            for number, row in enumerate(chosen)
        }
        if point.pairs == "panel":
            orders = consensus(simulated_panel(list(items.values()), politeness, NOISE, point.seed), point.seed)
        else:
            scores = self.reward(texts).view(-1, GROUP).numpy()
            orders = {name: np.argsort(-row, kind="stable") for name, row in zip(items, scores)}
        return best_and_worst(orders, items), time.perf_counter() - began

    def trainer(self, point: Point, settings, policy) -> tuple[object, int, float]:
        """(the trainer, its steps, the seconds that its data took)."""
        rate, longest = point.factor * RATE[point.method], settings.max_new_tokens
        shared = {"learning_rate": rate, "kl_coef": point.kl_coef, "max_new_tokens": longest}
        if point.method == "dpo":
            pairs, seconds = self.pairs(point, settings)
            config = DPOConfig(**shared, batch_size=ROWS // 2, anneal_steps=UPDATES)
            return DPOTrainer(policy, self.tokenizer, pairs, config, point.seed), UPDATES, seconds
        kind, configure = ONLINE[point.method]
        grouped = {"group_size": GROUP} if point.method != "ppo" else {}
        config = configure(**shared, **grouped, batch_size=BATCH, mini_batch_size=ROWS, anneal_steps=BATCHES)
        prompts = [build_prompt(row["dialogue"]) for row in self.rude]
        return kind(policy, self.tokenizer, self.reward, prompts, config, point.seed), BATCHES, 0.0

    def measure(self, point: Point, work: Path) -> dict:
        """Trains one policy and scores it, on its way with one completion of each rude dialogue."""
        settings = replace(self.settings, seed=point.seed)
        seed_everything(settings)
        if point.method == "neutral":
            return {"point": asdict(point)} | self._neutral(settings, work)
        policy = Policy.from_supervised(self.supervised, seed=point.seed)
        trainer, steps, seconds = self.trainer(point, settings, policy)
        way = []
        for part in range(1, PARTS + 1):
            began = time.perf_counter()
            result = trainer.run(steps * part // PARTS)
            seconds += time.perf_counter() - began
            found = self.measured(policy, {"rude": 1})["rude"]
            judged = BATCH * (BATCHES if point.method == "dpo" else BATCHES * part // PARTS)
            scores = {
                name: np.round(getattr(found, name)[0].astype(float), 4).tolist() for name in ("judged", "rougeL")
            }
            way.append({"completions": judged, "seconds": round(seconds, 1), **scores})
        return {
            "point": asdict(point),
            "config": asdict(trainer.config),
            "history": result.history,
            "way": way,
        } | self.scores(policy)

    def _neutral(self, settings, work):
        """Fine-tuned on the neutral summaries of the same rude dialogues, in as many updates."""
        rows = [{**row, "summary": row["neutral"]} for row in self.rude if row.get("neutral")]
        start = (self.supervised, self.tokenizer, self._encoded(rows), self.validation, full(), settings, work)
        began = time.perf_counter()
        run = train(*start, name=f"neutral-s{settings.seed}", steps=UPDATES, evaluations=1)
        found = {"training_seconds": round(time.perf_counter() - began, 1)} | self.scores(Policy(run.model))
        for kind in self.rows:
            del found[kind]["kl"]  # this policy has no adapter to switch off: its reference is itself
        return found


def on_the_way(results: Results, point: Point) -> list[tuple[int, float, Interval]]:
    """(judged completions, mean seconds so far, toxicity by the independent judge) of each part of a training."""
    records = [results[replace(point, seed=seed).name]["way"] for seed in SEEDS]
    clusters = results.clusters("judged", ("rude",))
    return [
        (
            parts[0]["completions"],
            float(np.mean([part["seconds"] for part in parts])),
            mean_over_seeds([part["judged"] for part in parts], clusters),
        )
        for parts in zip(*records)
    ]


def chosen_factors(results: Results) -> dict[str, float]:
    """Method -> the factor of its rate, by the first seed alone and on validation dialogues.

    Of those that keep the share `KEPT_ROUGE` of ROUGE-L it is the smallest whose toxicity is within `MATTERS` of the
    lowest: with a smaller rate a policy moves less.
    """
    floor, chosen = KEPT_ROUGE * np.mean(results["base"]["validation"]["rougeL"]), {}
    for method in KL_COEFS:
        found = {factor: results[Point(method, MIDDLE[method], factor).name]["validation"] for factor in FACTORS}
        judged = {
            factor: np.mean(scores["judged"]) for factor, scores in found.items() if np.mean(scores["rougeL"]) >= floor
        }
        chosen[method] = min(factor for factor, value in judged.items() if value <= min(judged.values()) + MATTERS)
    return chosen


def chosen_kl_coefs(results: Results) -> dict[str, float]:
    """Method -> its β, by lab 3's rule."""
    return {
        method: chosen_among(results, {beta: Point(method, beta) for beta in coefs})
        for method, coefs in KL_COEFS.items()
    }


if __name__ == "__main__":
    command_line(__doc__.splitlines()[0], sweeps(), lambda work: Bench(load_settings(), work), FOLDER)
