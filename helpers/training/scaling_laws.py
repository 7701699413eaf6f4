"""Scaling laws: the loss as a function of parameters and data, fitted to runs; the best size for a budget; what a run
will give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from helpers.evaluation.statistics import Interval

# Of Huber's loss, in the logarithm: a run more than a hundredth off counts linearly (Hoffmann et al. take a thousandth;
# small runs scatter more).
DELTA = 0.01
FLOPS = (
    6  # a parameter and a token: two in the forward pass, four in the backward pass (Kaplan et al. 2020, section 2.1)
)
NUMBERS = ("least", "size_factor", "data_factor", "size_exponent", "data_exponent", "power")
FORMS = {
    "hoffmann": NUMBERS[:5],
    "kaplan": ("size_factor", "data_factor", "size_exponent", "power"),
}  # which numbers each form leaves free
NOTHING = -50.0  # as a logarithm: no loss at all


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = E + (A / N^α + B / D^β)^γ, which has two published forms.

    With γ = 1: what no model can guess, what a larger one would, what more data would (Hoffmann et al. 2022, equation
    2). With E = 0 and β = 1: the scarcer of the two decides, and the more so the smaller γ is (Kaplan et al. 2020,
    equation 1.5).
    """

    least: float  # E, in the unit of the loss
    size_factor: float  # A
    size_exponent: float  # α
    data_factor: float  # B
    data_exponent: float  # β
    power: float = 1.0  # γ

    def __str__(self):
        inner = (
            f"{self.size_factor:.3g} / N^{self.size_exponent:.2f} + {self.data_factor:.3g} / D^{self.data_exponent:.2f}"
        )
        return f"L = {self.least:.2f} + {inner}" if self.power == 1 else f"L = ({inner})^{self.power:.2f}"

    def loss(self, parameters, tokens):
        """The loss that models of so many parameters reach on so many tokens; arrays are taken element by element."""
        missed = (
            self.size_factor / np.asarray(parameters, float) ** self.size_exponent
            + self.data_factor / np.asarray(tokens, float) ** self.data_exponent
        )
        return self.least + missed**self.power

    def best_size(self, flops):
        """Parameters of the model that makes the most of a budget of 6·N·D operations; the tokens follow from it.

        Source: Hoffmann et al. 2022, equation 4: where the derivative along N·D = constant is zero; E and γ do not move
            it.
        """
        ratio = self.size_exponent * self.size_factor / (self.data_exponent * self.data_factor)
        return (
            ratio ** (1 / (self.size_exponent + self.data_exponent)) * (np.asarray(flops, float) / FLOPS) ** self.growth
        )

    def best_ratio(self, flops):
        """Tokens a parameter at that size."""
        return np.asarray(flops, float) / FLOPS / self.best_size(flops) ** 2

    @property
    def growth(self) -> float:
        """a in: the best size grows as the budget to the power a, the data as 1 − a."""
        return self.data_exponent / (self.size_exponent + self.data_exponent)


def _predicted(values, sizes, data):
    """Logarithm of the loss, (R,), and its derivatives, (R, 6) in the order of `NUMBERS`; sizes and data are logarithms
    from their middle.
    """
    least, size, amount, alpha, beta, power = values
    small, little = size - alpha * sizes, amount - beta * data
    missed = np.logaddexp(small, little)
    total = np.logaddexp(least, power * missed)
    share, by_size = np.exp(power * missed - total), np.exp(small - missed)
    parts = (
        1 - share,
        share * power * by_size,
        share * power * (1 - by_size),
        -share * power * by_size * sizes,
        -share * power * (1 - by_size) * data,
        share * missed,
    )
    return total, np.stack(parts, 1)


def _starts(form, losses):
    """Where the search begins, as rows in the order of `NUMBERS`."""
    if form == "kaplan":
        return [
            np.array([NOTHING, height, height, alpha, 1.0, power])
            for alpha in (0.4, 0.9)
            for power in (0.15, 0.4)
            for height in [np.log(np.median(losses)) / power - np.log(2)]
        ]
    spread = np.log(np.ptp(losses) / 2)
    return [
        np.array([np.log(share * losses.min()), spread, spread, alpha, beta, 1.0])
        for share in (0.1, 0.5, 0.8)
        for alpha in (0.2, 0.6)
        for beta in (0.2, 0.6)
    ]


def _begin_at(law, mean_n, mean_d):
    """A law's free numbers, as `fit_law` looks for them: of sizes and budgets whose logarithms have these means."""
    return np.array(
        [
            np.log(max(law.least, np.exp(NOTHING))),
            np.log(law.size_factor) - law.size_exponent * mean_n,
            np.log(law.data_factor) - law.data_exponent * mean_d,
            law.size_exponent,
            law.data_exponent,
            law.power,
        ]
    )


def fit_law(runs, form: str = "hoffmann", start: ScalingLaw | None = None) -> ScalingLaw:
    """The law of a form that lies nearest to finished runs.

    Args:
        runs: `parameters`, `budgets` and `losses`, (R,) each.
        form: "hoffmann" (five free numbers) or "kaplan" (four); start: where to look; without it from several places,
            of which the best end counts.
    Raises:
        ValueError: an unknown form, fewer than six runs, or runs of a single size or budget.
    Source: Hoffmann et al. 2022, equation 3: Huber's loss of the logarithms, through `scipy.optimize.least_squares`.
    """
    if form not in FORMS:
        raise ValueError(f"form: {form!r} is not one of {', '.join(FORMS)}")
    if len(runs.losses) < 6 or len(set(runs.parameters)) < 2 or len(set(runs.budgets)) < 2:
        raise ValueError(
            f"runs: {len(runs.losses)} of {len(set(runs.parameters))} sizes and {len(set(runs.budgets))} "
            "budgets; up to five numbers are fitted, "
            "give at least six runs, two sizes and two budgets"
        )
    log_n, log_d, wanted = np.log(runs.parameters), np.log(runs.budgets), np.log(runs.losses)
    sizes, data = log_n - log_n.mean(), log_d - log_d.mean()
    free = [NUMBERS.index(name) for name in FORMS[form]]
    limits = [(0.01 if name in NUMBERS[3:] else -60.0, 3.0 if name in NUMBERS[3:] else 60.0) for name in FORMS[form]]

    def solve(begin):
        def whole(found):
            values = begin.copy()
            values[free] = found
            return values

        found = least_squares(
            lambda found: _predicted(whole(found), sizes, data)[0] - wanted,
            begin[free],
            lambda found: _predicted(whole(found), sizes, data)[1][:, free],
            loss="huber",
            f_scale=DELTA,
            x_scale="jac",
            bounds=list(zip(*limits)),
            max_nfev=300,
        )
        return found.cost, whole(found.x)

    starts = _starts(form, runs.losses) if start is None else [_begin_at(start, log_n.mean(), log_d.mean())]
    least, size, amount, alpha, beta, power = map(float, min(map(solve, starts), key=lambda found: found[0])[1])
    return ScalingLaw(
        float(np.exp(least)) if form == "hoffmann" else 0.0,
        float(np.exp(size + alpha * log_n.mean())),
        alpha,
        float(np.exp(amount + beta * log_d.mean())),
        beta,
        power,
    )


def part_of(runs, places):
    """Some of the runs, by their places."""
    return type(runs)(runs.parameters[places], runs.budgets[places], runs.losses[places])


def left_out_errors(runs, form: str) -> np.ndarray:
    """(R,) how far off, as a share, each run is from the law that is fitted without it and without its repetitions by
    other seeds.
    """
    law, errors = fit_law(runs, form), []
    for size, budget, loss in zip(runs.parameters, runs.budgets, runs.losses):
        others = part_of(runs, (runs.parameters != size) | (runs.budgets != budget))
        errors.append(abs(np.log(loss / fit_law(others, form, law).loss(size, budget))))
    return np.array(errors)


def resampled_laws(
    runs, law: ScalingLaw, form: str = "hoffmann", resamples: int = 200, seed: int = 0
) -> list[ScalingLaw]:
    """Laws fitted to runs drawn with replacement: how far the law could be off because other runs might have been
    made.
    """
    rng, laws = np.random.default_rng(seed), []
    while len(laws) < resamples:
        part = part_of(runs, rng.integers(len(runs.losses), size=len(runs.losses)))
        if len(set(part.parameters)) > 1 and len(set(part.budgets)) > 1:
            laws.append(fit_law(part, form, law))
    return laws


def interval_of(estimate: float, values, level: float = 0.95) -> Interval:
    """An estimate with the percentiles of what other laws say."""
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(estimate), float(low), float(high), level)


def residuals(runs, law: ScalingLaw) -> np.ndarray:
    """(R,) logarithm of each run's loss over the law's: 0.01 is one percent too high."""
    return np.log(runs.losses / law.loss(runs.parameters, runs.budgets))


def predicted_loss(runs, law: ScalingLaw, laws, parameters: float, tokens: float, seed: int = 0) -> Interval:
    """What one more run will give: the band in which 95 of 100 such runs lie, so both the law's doubt and the runs' own
    scatter are in it.

    Args:
        laws: of `resampled_laws`.
    """
    scatter = np.random.default_rng(seed).choice(residuals(runs, law), (50, len(laws)))
    drawn = np.array([found.loss(parameters, tokens) for found in laws]) * np.exp(scatter)
    return interval_of(law.loss(parameters, tokens), drawn.ravel())
