"""The sweep of quantization: rounded after the training or during it, in 4 to 2 bits; LoRA on a base in float32 or in
NF4.

python -m sweeps.quantization [--only rates|rounding|qlora] [--part 1/2] [--results FOLDER]

Points that have a file are skipped: a stopped sweep goes on where it was.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from helpers.compression.quantized_models import converted, low_bits, nf4, quantized
from helpers.data.pairs import summary_pairs
from helpers.evaluation.experiments import clusters_of, run_condition
from helpers.evaluation.losses import pair_losses
from helpers.run_records import KEPT, fingerprint
from helpers.settings import load_settings, seed_everything
from helpers.training.finetuning_methods import Method, full, lora, qat
from helpers.training.trainer import train
from sweeps import RESULTS, SEEDS, Results, command_line, each_once, finetuning as finetuning_sweep

FOLDER, COMMAND = RESULTS / "quantization", "python -m sweeps.quantization"
SHARE = 8  # of the steps of a fine-tuning, one in so many
SUMMARIES = 100  # of test dialogues are written and scored; the loss, which takes no writing, is measured on all
TRIED = {4: (5e-5, 2e-4, 1e-3), 3: (5e-5, 2e-4, 1e-3), 2: (2e-4, 1e-3, 4e-3)}  # bits -> learning rates
RATES = {4: 2e-4, 3: 2e-4, 2: 1e-3}  # those of the lowest validation loss of the first seed
BEFORE = {
    "fine-tuned": ("float32", *(f"int{bits}" for bits in RATES)),
    "base": ("float32", "nf4"),
}  # model -> forms it is scored in before any training


@dataclass(frozen=True)
class Point:
    """One short training: of all weights, with the rounding or without, from the fine-tuned model; or of LoRA, from the
    base model, in NF4 or not.
    """

    method: Method
    seed: int = SEEDS[0]
    four_bit: bool = False

    @property
    def name(self) -> str:
        """What its file is called."""
        kind = "qlora" if self.four_bit else self.method.kind
        return f"{kind}{self.method.options.get('bits', '')}-lr{self.method.learning_rate:g}-s{self.seed}"

    @property
    def forms(self) -> tuple[str, ...]:
        """What its model is scored as: trained without rounding, in each number of bits that takes this rate. Other
        rates are not scored on test dialogues: their validation loss is all that counts.
        """
        if self.method.kind == "lora":
            return ("nf4" if self.four_bit else "float32",)
        return tuple(
            f"int{bits}"
            for bits, rate in RATES.items()
            if rate == self.method.learning_rate and bits == self.method.options.get("bits", bits)
        )


def sweeps() -> dict[str, list[Point]]:
    """Name of a sweep -> its points, seed after seed."""
    rounding = [qat(bits, rate) for bits, rate in RATES.items()] + [full(rate) for rate in sorted(set(RATES.values()))]
    return {
        "rates": [Point(qat(bits, rate), SEEDS[0]) for bits, rates in TRIED.items() for rate in rates],
        "rounding": [Point(method, seed) for seed in SEEDS for method in rounding],
        "qlora": [Point(lora(), seed, four_bit) for seed in SEEDS for four_bit in (False, True)],
    }


def points() -> list[Point]:
    """The points of all sweeps, each once."""
    return each_once(sweeps().values())


def in_form(model, form: str):
    """The model as it is ("float32"), in NF4 ("nf4"), or rounded after its training ("int4"; "int3", "int2")."""
    return {"float32": lambda: model, "nf4": lambda: nf4(model)}.get(
        form, lambda: quantized(model, low_bits(int(form.removeprefix("int"))))
    )()


class Bench(finetuning_sweep.Bench):
    """What all points share: the base model, the fine-tuned one, the data, and the test dialogues with their
    references.
    """

    def __init__(self, settings, kept: Path = KEPT):
        super().__init__(settings)
        self.pairs, self.checked, self.references = (
            self.encode(*summary_pairs(rows)) for rows in (self.train, self.validation[:100], self.test)
        )
        self.start = train(
            self.model, self.tokenizer, self.pairs, self.checked, full(), settings, kept, name="full"
        ).model

    def scores(self, model, name="") -> dict:
        """Metric -> a number for each test dialogue: ROUGE of the first summaries, and the loss of all references in
        nats a token.
        """
        outcome = run_condition(name, model, self.tokenizer, self.settings, self.test[:SUMMARIES])
        found = {metric: outcome.per_dialogue(metric) for metric in ("rouge1", "rougeL")} | {
            "loss": pair_losses(model, self.tokenizer, self.references)
        }
        return {metric: [round(float(value), 4) for value in values] for metric, values in found.items()}

    def base(self) -> dict:
        """What is known before any of these trainings: both models, in their forms."""
        models = {"fine-tuned": self.start, "base": self.model}
        return {
            "scores": {
                name: {form: self.scores(in_form(models[name], form)) for form in forms}
                for name, forms in BEFORE.items()
            },
            "loss_clusters": clusters_of(self.test),
            "clusters": clusters_of(self.test[:SUMMARIES]),
            "fingerprints": {name: fingerprint(model) for name, model in models.items()},
        }

    def measure(self, point: Point, folder: Path) -> dict:
        """Trains one point and scores it in each of its forms; its weights are deleted afterwards."""
        settings = replace(self.settings, seed=point.seed)
        seed_everything(settings)
        start = in_form(self.model, *point.forms) if point.method.kind == "lora" else self.start
        run = train(
            start,
            self.tokenizer,
            self.pairs,
            self.checked,
            point.method,
            settings,
            folder,
            name=point.name,
            steps=max(1, settings.train_steps // SHARE),
            evaluations=1,
        )
        bits = point.method.options.get("bits")
        trained = {
            form: run.model
            if point.method.kind == "lora"
            else converted(run.model, bits)
            if bits
            else in_form(run.model, form)
            for form in point.forms
        }
        found = {
            "point": asdict(point),
            "record": asdict(run.record),
            "scores": {form: self.scores(model, point.name) for form, model in trained.items()},
        }
        shutil.rmtree(run.folder)
        return found


def before(results: Results, form: str, metric: str = "loss", model: str = "fine-tuned") -> np.ndarray:
    """(N,) a metric ("loss", "rouge1", "rougeL") of each test dialogue before any of these trainings; `model` is a name
    in `BEFORE`.
    """
    return np.array(results["base"]["scores"][model][form][metric])


if __name__ == "__main__":
    command_line(__doc__.splitlines()[0], sweeps(), lambda _: Bench(load_settings()), FOLDER)
