"""Scaling laws: a law is found again from its own losses, its best size is a minimum, bands hold new runs."""

import numpy as np
import pytest
from hypothesis import given, settings as examples, strategies as st

from helpers.training.scaling_laws import (
    FLOPS,
    ScalingLaw,
    fit_law,
    interval_of,
    left_out_errors,
    predicted_loss,
    resampled_laws,
    residuals,
)
from sweeps.scaling import Runs

LAW = ScalingLaw(0.9, 40.0, 0.35, 60.0, 0.40)


def made(law, noise=0.0, seed=0, budgets=4):
    """Runs of seven sizes by some budgets whose losses obey a law, but for noise."""
    sizes, data = map(np.ravel, np.meshgrid(np.geomspace(7e3, 4e5, 7), 2.0 ** np.arange(17, 17 + budgets)))
    return Runs(
        sizes,
        data,
        law.loss(sizes, data) * np.exp(np.random.default_rng(seed).normal(0, noise, len(sizes)) if noise else 0),
    )


@examples(max_examples=5)
@given(st.floats(0.2, 2), st.floats(0.2, 0.6), st.floats(0.2, 0.6))
def test_a_law_is_found_again_from_its_losses(least, alpha, beta):
    law = ScalingLaw(least, 40.0, alpha, 60.0, beta)
    runs = made(law)
    assert np.abs(residuals(runs, fit_law(runs))).max() < 1e-3
    assert float(fit_law(runs).loss(1e6, 2**22)) == pytest.approx(float(law.loss(1e6, 2**22)), rel=0.02)


def test_the_numbers_are_those_of_the_law():
    found = fit_law(made(LAW))
    assert (found.least, found.size_exponent, found.data_exponent) == pytest.approx((0.9, 0.35, 0.40), rel=0.01)
    assert str(LAW) == "L = 0.90 + 40 / N^0.35 + 60 / D^0.40"


@given(st.floats(0.1, 1), st.floats(0.1, 1), st.floats(8, 20), st.floats(-1, 1))
def test_the_best_size_is_a_minimum_of_its_budget(alpha, beta, power, off):
    law, flops = ScalingLaw(1.0, 40.0, alpha, 60.0, beta), 10.0**power
    best = law.best_size(flops)
    other = best * np.exp(off)
    assert law.loss(best, flops / FLOPS / best) <= law.loss(other, flops / FLOPS / other) + 1e-12
    assert law.best_ratio(flops) == pytest.approx(flops / FLOPS / best / best)


def test_equal_exponents_and_factors_give_one_token_a_parameter():
    assert ScalingLaw(1.0, 50.0, 0.4, 50.0, 0.4).best_ratio(1e12) == pytest.approx(1.0)


def test_each_form_is_found_again_and_fits_its_own_runs_better():
    law = ScalingLaw(0.0, 400.0, 0.6, 2e5, 1.0, 0.3)
    runs, others = made(law), made(LAW)
    found = fit_law(runs, "kaplan")
    assert (found.least, found.data_exponent) == (0, 1) and (found.size_exponent, found.power) == pytest.approx(
        (0.6, 0.3), rel=0.01
    )
    assert str(found).endswith("^0.30") and found.loss(1e5, 1e6) == pytest.approx(law.loss(1e5, 1e6), rel=1e-3)
    for made_so, own, other in ((runs, "kaplan", "hoffmann"), (others, "hoffmann", "kaplan")):
        assert left_out_errors(made_so, own).mean() < 0.2 * left_out_errors(made_so, other).mean()


def test_a_run_and_its_repetition_are_left_out_together():
    runs = made(LAW)
    spoiled = Runs(
        np.append(runs.parameters, runs.parameters[3]),
        np.append(runs.budgets, runs.budgets[3]),
        np.append(runs.losses, runs.losses[3]),
    )
    spoiled.losses[[3, -1]] *= 1.5
    errors = left_out_errors(spoiled, "hoffmann")
    assert errors[[3, -1]] == pytest.approx(np.log(1.5), rel=0.02)


def test_bands_hold_new_runs_about_as_often_as_they_say():
    inside = []
    for seed in range(4):
        runs = made(LAW, 0.01, seed)
        law = fit_law(runs)
        band = predicted_loss(runs, law, resampled_laws(runs, law, resamples=40, seed=seed), 6e4, 3e5)
        new = LAW.loss(6e4, 3e5) * np.exp(np.random.default_rng(100 + seed).normal(0, 0.01, 40))
        inside += ((band.low <= new) & (new <= band.high)).tolist()
    assert 0.85 < np.mean(inside) <= 1.0


def test_resampling_repeats_and_spreads():
    runs = made(LAW, 0.01)
    law = fit_law(runs)
    first, second = resampled_laws(runs, law, resamples=20, seed=1), resampled_laws(runs, law, resamples=20, seed=1)
    assert first == second and len({found.least for found in first}) > 10
    assert interval_of(2.0, [1.0, 2.0, 3.0]).low < 2 < interval_of(2.0, [1.0, 2.0, 3.0]).high


def test_too_few_runs_are_refused():
    runs = made(LAW)
    with pytest.raises(ValueError, match="runs: 7 of 7 sizes and 1 budgets"):
        fit_law(Runs(runs.parameters[:7], runs.budgets[:7], runs.losses[:7]))
    with pytest.raises(ValueError, match="form: 'line' is not one of hoffmann, kaplan"):
        fit_law(runs, "line")
