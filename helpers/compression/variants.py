"""Variants: compressed models measured alike, a small record each that all labs read; which one to take, and why."""

from __future__ import annotations

import gc
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from helpers.compression.compressed_files import content_digest, file_bytes, load_compressed
from helpers.compression.quantized_models import held_bytes
from helpers.data.prompts import build_prompt
from helpers.evaluation.experiments import run_condition
from helpers.evaluation.statistics import Interval, mean_interval, paired_difference
from helpers.hardware import PeakMemory, machine, release_freed_memory
from helpers.models.generation import generate_ids
from helpers.run_records import make_folder, write_json
from helpers.settings import QUICK

PROMPTS, TOKENS = 8, 24  # of the measurement of time: so many prompts alone, so many tokens at most
FAMILIES = ("quantization", "distillation", "pruning")  # the notebooks in labs/extras that leave records


@dataclass(frozen=True)
class Variant:
    """One compressed model as it was measured after loading it from its file.

    Attributes:
        name, family: what it is ("int8 dynamic"), and which lab made it ("quantization").
        identity: of file, dialogues and settings: a record of anything else is not this variant's.
        start: `fingerprint` of the model that was compressed.
        scores: ROUGE type -> one F1 for each dialogue, in the order of the test dialogues.
        file_bytes, held_bytes: weights on disk, and in memory once loaded.
        load_seconds: from file to a model that is ready.
        peak_bytes: the most memory that loading and one completion took above what was held before.
        milliseconds: a token, of each of some prompts that were completed alone.
        machine: processor or GPU, and threads; times mean nothing without it.
    """

    name: str
    family: str
    identity: str
    start: str
    scores: dict
    file_bytes: int
    held_bytes: int
    load_seconds: float
    peak_bytes: int
    milliseconds: list
    machine: str

    def quality(self, metric: str = "rouge1") -> Interval:
        """Mean over dialogues."""
        return mean_interval(self.scores[metric])

    def latency(self) -> Interval:
        """Milliseconds a token, mean over prompts."""
        return mean_interval(self.milliseconds)


def slug(name: str) -> str:
    """The name as a file may be called on any system: "int4, embeddings int8" is "int4-embeddings-int8"."""
    return re.sub(r"[^\w.]+", "-", name).strip("-")


def token_milliseconds(
    model, tokenizer, prompts: Sequence[str], tokens: int = TOKENS, warm: bool = False
) -> list[float]:
    """Time a token of each prompt, completed alone and greedily; the encoder's share included, the model's first
    completion not counted.

    Args:
        warm: the model has completed a prompt already; else the first one is completed twice.
    """
    found = []
    for prompt in prompts if warm else (prompts[0], *prompts):
        started = time.perf_counter()
        ids = generate_ids(model, tokenizer, [prompt], max_new_tokens=tokens, show_progress=False)[0]
        found.append(
            1000 * (time.perf_counter() - started) / min(len(ids) + 1, tokens)
        )  # the end token takes its time too
    return found[0 if warm else 1 :]


def _first_use(folder, prompt, device, tokens):
    """Loads the model and completes one prompt: (tokenizer, model, seconds until it was loaded, peak bytes of it
    all).
    """
    with PeakMemory(device) as memory:
        started = time.perf_counter()
        tokenizer, model = load_compressed(folder, device)
        seconds = time.perf_counter() - started
        generate_ids(model, tokenizer, [prompt], max_new_tokens=tokens, show_progress=False)
    return tokenizer, model, seconds, memory.peak


def measure_variant(
    name: str, family: str, folder, start: str, rows: Sequence, settings, records, again: bool = False
) -> Variant:
    """Measures a compressed model from its file, or reads the record of exactly that.

    Args:
        folder: as `save_compressed` wrote it. start: `fingerprint` of the model that it was made from.
        rows: test dialogues. records: folder of the records, common to all labs. again: measures in any case.
        settings: in quick size a few prompts are completed, by a few tokens.
    """
    facts = [
        content_digest(folder),
        [row["id"] for row in rows],
        settings.max_prompt_tokens,
        settings.max_new_tokens,
        settings.device,
        PROMPTS,
        TOKENS,
    ]
    path, identity = (
        Path(records) / f"{slug(f'{family} {name}')}-{start[:8]}.json",
        hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
    )
    known = read_variants(records, start).get(name)
    if known and known.identity == identity and not again:
        return known
    make_folder(path.parent)
    tokens = settings.scaled(TOKENS)
    limits = replace(settings, max_new_tokens=settings.scaled(settings.max_new_tokens, 8))
    prompts = [build_prompt(row["dialogue"]) for row in rows[: settings.scaled(PROMPTS)]]
    if settings.size != QUICK:  # there, collecting takes longer than all the rest, and memory is not what is tried
        gc.collect()
        release_freed_memory()  # else what earlier models took is used again, and nothing is seen to grow
    tokenizer, model, seconds, peak = _first_use(folder, prompts[0], settings.device, tokens)
    milliseconds = token_milliseconds(model, tokenizer, prompts, tokens, warm=True)
    scores = run_condition(name, model, tokenizer, limits, rows).scores
    variant = Variant(
        name,
        family,
        identity,
        start,
        {metric: np.round(values[0].astype(float), 4).tolist() for metric, values in scores.items()},
        file_bytes(folder),
        held_bytes(model),
        seconds,
        peak,
        milliseconds,
        machine(settings.device),
    )
    write_json(path, asdict(variant))
    return variant


def read_variants(records, *starts: str) -> dict[str, Variant]:
    """Name -> variant of all records in a folder, whichever lab left them: family by family, the largest file first; of
    two with one name the first.

    Args:
        starts: `fingerprint` of models; without one the variants of all, else those that were made from these.
    Raises:
        ValueError: a file that is no record; it is named.
    """
    found = []
    for path in sorted(Path(records).glob("*.json")):
        try:
            variant = Variant(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"{path}: is no record of a variant ({error}); delete it, and run the lab that made it again"
            ) from error
        if not starts or variant.start in starts:
            found.append(variant)
    named = {}
    for variant in sorted(
        found,
        key=lambda variant: (
            FAMILIES.index(variant.family) if variant.family in FAMILIES else len(FAMILIES),
            -variant.file_bytes,
        ),
    ):
        named.setdefault(variant.name, variant)
    return named


# What may bind -> what a variant costs of it, the less the better. All are measured; times and memory on the machine of
# the record.
PRICES: dict[str, Callable[[Variant], float]] = {
    "file": lambda variant: variant.file_bytes,
    "memory": lambda variant: variant.held_bytes,
    "time": lambda variant: variant.latency().estimate,
}


@dataclass(frozen=True)
class Advice:
    """What to take if one price binds and so much quality may be lost.

    Attributes:
        price: a name in `PRICES`; margin: of quality, in the metric's unit.
        name: of the cheapest variant whose whole interval lies above −margin; share: its price, as a share of the
            reference's.
        difference: its quality against the reference's, paired by dialogue.
    """

    price: str
    margin: float
    name: str
    share: float
    difference: Interval

    def __str__(self):
        return (
            f"if {self.price} binds and {self.margin:g} may be lost: {self.name}, with {self.share:.0%} of the "
            f"reference's {self.price} "
            f"and a difference of {self.difference:+.3f}"
        )


def differences(
    variants: Mapping[str, Variant], reference: str = "float32", metric: str = "rouge1"
) -> dict[str, Interval]:
    """Name -> quality against the reference's, paired by dialogue.

    Raises:
        KeyError: no variant has the reference's name. ValueError: a variant was scored on another number of dialogues;
            it is named.
    """
    if reference not in variants:
        raise KeyError(f"reference: {reference!r} is not among the variants ({', '.join(variants)}); measure it first")
    wanted = variants[reference].scores[metric]
    for name, variant in variants.items():
        if len(variant.scores[metric]) != len(wanted):
            raise ValueError(
                f"{name}: was scored on {len(variant.scores[metric])} dialogues, {reference} on {len(wanted)}; "
                "measure it again on the same ones"
            )
    return {name: paired_difference(variant.scores[metric], wanted) for name, variant in variants.items()}


def advise(
    variants: Mapping[str, Variant],
    reference: str = "float32",
    margins: Sequence[float] = (0.02, 0.05),
    metric: str = "rouge1",
) -> list[Advice]:
    """For each price and each margin the cheapest variant that surely loses no more; the reference itself where no
    other does.

    "Surely" is the whole 95% interval of the paired difference. Times of another machine than the reference's do not
    count.
    """
    found, machine, advice = differences(variants, reference, metric), variants[reference].machine, []
    for price, cost in PRICES.items():
        for margin in margins:
            kept = [
                name
                for name, difference in found.items()
                if difference.low > -margin and (price != "time" or variants[name].machine == machine)
            ]
            best = min(kept, key=lambda name: cost(variants[name]))
            advice.append(Advice(price, margin, best, cost(variants[best]) / cost(variants[reference]), found[best]))
    return advice


def front(variants: Mapping[str, Variant], price: str, metric: str = "rouge1") -> list[str]:
    """Names on the Pareto front, cheapest first: no other variant is as cheap and better, or as good and cheaper.

    By the estimates alone: neighbours whose intervals overlap may change places with other dialogues.
    """
    cost, names, best = PRICES[price], [], float("-inf")
    for name in sorted(variants, key=lambda name: (cost(variants[name]), -variants[name].quality(metric).estimate)):
        if variants[name].quality(metric).estimate > best:
            names.append(name)
            best = variants[name].quality(metric).estimate
    return names


def missing_families(variants: Mapping[str, Variant]) -> list[str]:
    """The families without a single record here; each is measured by the notebook of its name in labs/extras."""
    return [family for family in FAMILIES if family not in {variant.family for variant in variants.values()}]
