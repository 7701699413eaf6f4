"""Advice: which compressed model to take, computed from the records of all variants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from helpers.evaluation.statistics import Interval, paired_difference
from helpers.compression.variants import FAMILIES, Variant

# What may bind -> what a variant costs of it, the less the better. All are measured; times and memory on the machine of the record.
PRICES: dict[str, Callable[[Variant], float]] = {
    "file": lambda variant: variant.file_bytes, "memory": lambda variant: variant.held_bytes, "time": lambda variant: variant.latency().estimate}


@dataclass(frozen=True)
class Advice:
    """What to take if one price binds and so much quality may be lost.

    Attributes:
        price: a name in `PRICES`; margin: of quality, in the metric's unit.
        name: of the cheapest variant whose whole interval lies above −margin; share: its price, as a share of the reference's.
        difference: its quality against the reference's, paired by dialogue.
    """
    price: str
    margin: float
    name: str
    share: float
    difference: Interval

    def __str__(self):
        return (f"if {self.price} binds and {self.margin:g} may be lost: {self.name}, with {self.share:.0%} of the reference's {self.price} "
                f"and a difference of {self.difference:+.3f}")


def differences(variants: Mapping[str, Variant], reference: str = "float32", metric: str = "rouge1") -> dict[str, Interval]:
    """Name -> quality against the reference's, paired by dialogue.

    Raises:
        KeyError: no variant has the reference's name. ValueError: a variant was scored on another number of dialogues; it is named.
    """
    if reference not in variants:
        raise KeyError(f"reference: {reference!r} is not among the variants ({', '.join(variants)}); measure it first")
    wanted = variants[reference].scores[metric]
    for name, variant in variants.items():
        if len(variant.scores[metric]) != len(wanted):
            raise ValueError(f"{name}: was scored on {len(variant.scores[metric])} dialogues, {reference} on {len(wanted)}; measure it again on the same ones")
    return {name: paired_difference(variant.scores[metric], wanted) for name, variant in variants.items()}


def advise(variants: Mapping[str, Variant], reference: str = "float32", margins: Sequence[float] = (0.02, 0.05), metric: str = "rouge1") -> list[Advice]:
    """For each price and each margin the cheapest variant that surely loses no more; the reference itself where no other does.

    "Surely" is the whole 95% interval of the paired difference. Times of another machine than the reference's do not count.
    """
    found, machine, advice = differences(variants, reference, metric), variants[reference].machine, []
    for price, cost in PRICES.items():
        for margin in margins:
            kept = [name for name, difference in found.items() if difference.low > -margin and (price != "time" or variants[name].machine == machine)]
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
