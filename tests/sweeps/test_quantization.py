"""The sweep of quantization on a tiny model, and its kept results: complete, of the shipped weights, and what is said
of them again.
"""

import json

import numpy as np
import pytest

from helpers.data.pairs import summary_pairs
from helpers.evaluation.losses import pair_losses
from helpers.models.loading import load_seq2seq
from helpers.run_records import fingerprint
from helpers.settings import load_settings
from helpers.training.finetuning_methods import full, lora, qat
from sweeps import SEEDS, Results, finetuning as finetuning_sweep, load_results, run_sweep
from sweeps.quantization import (
    BEFORE,
    COMMAND,
    FOLDER,
    RATES,
    SHARE,
    SUMMARIES,
    TRIED,
    Bench,
    Point,
    before,
    in_form,
    points,
    sweeps,
)
from tests import conftest
from tests.compression.quantization_cases import wide_model
from tests.tiny_world import tiny_settings

ROWS = [
    {"id": f"row-{number}", "dialogue": dialogue, "summary": summary}
    for number, (dialogue, summary) in enumerate(zip(conftest.DIALOGUES, conftest.SUMMARIES))
]


@pytest.fixture(scope="module")
def bench(tiny_tokenizer, tmp_path_factory):
    """A bench on six dialogues, train, validation and test alike."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "tasks.jsonl").write_text(
        json.dumps({"id": "test-row-0", "task": "topic", "answer": "cats", "part": "test"}) + "\n", encoding="utf-8"
    )
    splits = {
        split: [row | {"id": f"{split}-{row['id']}"} for row in ROWS] for split in ("train", "validation", "test")
    }
    return Bench(
        tiny_settings(folder, wide_model(tiny_tokenizer), tiny_tokenizer, splits, train_steps=16), folder / "kept"
    )


def test_every_point_has_a_name_of_its_own_all_seeds_and_a_control_at_the_same_rate():
    names = [point.name for point in points()]
    tried = sum(map(len, TRIED.values())) - len(RATES)  # with the first seed alone, and not scored
    trainings = len(RATES) + len(set(RATES.values())) + 2  # with the rounding, without it, LoRA on both bases
    assert len(set(names)) == len(names) == trainings * len(SEEDS) + tried
    assert sum(not point.forms for point in points()) == tried
    assert {name[-2:] for name in names} == {f"s{seed}" for seed in SEEDS}
    assert Point(qat(2, 1e-3), 1).name == "qat2-lr0.001-s1" and Point(lora(), 2, True).name == "qlora-lr0.004-s2"
    rounding = sweeps()["rounding"]
    measured = {(point.method.kind, point.method.learning_rate, form) for point in rounding for form in point.forms}
    assert measured == {(kind, rate, f"int{bits}") for kind in ("qat", "full") for bits, rate in RATES.items()}
    assert all(len(point.forms) == 1 for point in rounding if point.method.kind == "qat")
    assert {point.forms for point in sweeps()["qlora"]} == {("float32",), ("nf4",)}


def test_a_model_in_its_forms(bench):
    assert in_form(bench.model, "float32") is bench.model and in_form(bench.model, "nf4").is_loaded_in_4bit
    weight = in_form(bench.model, "int3").get_submodule("encoder.block.0.layer.0.SelfAttention.q").weight.dequantize()
    assert len(set(weight[0].tolist())) <= 2**3


def test_points_are_measured_in_their_forms_and_leave_nothing_behind(bench, tmp_path):
    chosen = [Point(qat(2, 1e-3), 1), Point(full(1e-3), 1), Point(lora(), 1, True)]
    run_sweep(chosen, bench, tmp_path / "results", tmp_path / "work")
    results = load_results(tmp_path / "results", COMMAND)
    assert set(results) == {"base", *(point.name for point in chosen)} and not list((tmp_path / "work").iterdir())
    assert {model: tuple(scores) for model, scores in results["base"]["scores"].items()} == BEFORE
    for point in chosen:
        found = results[point.name]
        assert tuple(found["scores"]) == point.forms and found["record"]["settings"]["steps"] == 16 // SHARE, point.name
        assert found["record"]["base"] == (
            fingerprint(in_form(bench.model, "nf4"))
            if point.four_bit
            else results["base"]["fingerprints"]["fine-tuned"]
        )
    losses = [
        before(results, "int2"),
        *(np.array(results[point.name]["scores"]["int2"]["loss"]) for point in chosen[:2]),
    ]
    assert (
        all(len(found) == len(ROWS) for found in losses)
        and not np.allclose(losses[0], losses[1])
        and not np.allclose(losses[1], losses[2])
    )


def test_a_point_has_a_row_for_each_seed_and_a_missing_seed_is_named():
    results = Results(
        {Point(full(1e-3), seed).name: {"scores": {"int2": {"loss": [0.1 * seed, 0.5]}}} for seed in SEEDS}
        | {"base": {"clusters": ["inn"], "loss_clusters": ["inn", "bank"]}},
        COMMAND,
    )
    form = {"metric": "loss", "within": ("scores", "int2")}
    assert results.scores(Point(full(1e-3)), **form) == pytest.approx(np.array([[0.1 * seed, 0.5] for seed in SEEDS]))
    assert results.clusters(**form) == ["inn", "bank"] and results.clusters("rouge1", form["within"]) == ["inn"]
    with pytest.raises(
        KeyError, match="qlora-lr0.004-s1.json is not among the results; make it with: python -m sweeps.quantization"
    ):
        results.scores(Point(lora(), four_bit=True), "loss", within=("scores", "nf4"))


@pytest.fixture(scope="module")
def kept():
    return load_results(FOLDER, COMMAND)


def test_every_kept_point_is_there_and_has_all_scores(kept):
    settings = load_settings("pocket")
    assert set(kept) == {"base", *(point.name for point in points())}
    wanted = {"loss": settings.test_rows, "rouge1": SUMMARIES, "rougeL": SUMMARIES}
    assert {metric: len(kept.clusters(metric, ("scores",))) for metric in wanted} == wanted
    for name, found in kept.items():
        for scores in (
            {form: found["scores"][model][form] for model in BEFORE for form in BEFORE[model]}
            if name == "base"
            else found["scores"]
        ).values():
            assert {metric: len(values) for metric, values in scores.items()} == wanted and all(
                np.isfinite(values).all() for values in scores.values()
            ), name


def test_kept_points_belong_to_the_shipped_model_and_settings(kept):
    settings, marks = load_settings("pocket"), kept["base"]["fingerprints"]
    base = load_seq2seq(settings)[1]
    assert marks["base"] == fingerprint(base)
    starts = {"float32": marks["base"], "nf4": fingerprint(in_form(base, "nf4"))}
    for point in points():
        record = kept[point.name]["record"]
        assert (
            record["base"] == starts.get(next(iter(point.forms), ""), marks["fine-tuned"])
            and record["settings"]["seed"] == point.seed
        ), point.name
        assert (record["settings"]["steps"], record["settings"]["batch_size"]) == (
            settings.train_steps // SHARE,
            settings.batch_size,
        ), point.name
        assert record["method"]["options"] == dict(point.method.options), point.name


def test_each_rate_has_the_lowest_validation_loss_of_those_tried(kept):
    for bits, rates in TRIED.items():
        records = {rate: kept[Point(qat(bits, rate), SEEDS[0]).name]["record"] for rate in rates}
        losses = {rate: min(loss for _, loss in record["validation_losses"]) for rate, record in records.items()}
        assert min(losses, key=losses.get) == RATES[bits], (bits, losses)


def test_the_loss_of_the_base_in_four_bits_measured_again_is_what_is_kept(kept):
    bench = finetuning_sweep.Bench(load_settings("pocket"))
    again = pair_losses(in_form(bench.model, "nf4"), bench.tokenizer, bench.encode(*summary_pairs(bench.test[:20])))
    float_losses, four_bits = (before(kept, form, "loss", "base")[:20] for form in ("float32", "nf4"))
    assert again == pytest.approx(four_bits, abs=0.005)
    assert abs(four_bits - float_losses).max() > 0.02, "the tolerance hides the effect"
