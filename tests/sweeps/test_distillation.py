import json

import numpy as np
import pytest

from helpers.models.loading import load_seq2seq
from helpers.run_records import fingerprint
from helpers.settings import load_settings
from helpers.training.finetuning_methods import distilled, full
from sweeps import SEEDS, Results, load_results, run_sweep
from sweeps.distillation import (
    ALPHA,
    CLASS_RATE,
    CLASS_RATES,
    CLASS_TEACHER,
    COMMAND,
    FEW,
    FOLDER,
    RATE,
    RATES,
    TEMPERATURE,
    TEMPERATURES,
    Bench,
    ClassifierPoint,
    Point,
    points,
    student,
    sweeps,
)
from tests.conftest import DIALOGUES, SUMMARIES
from tests.tiny_world import tiny_settings

ROWS = [
    {"id": f"row-{number}", "dialogue": dialogue, "summary": summary, "topic": "cats" if number % 2 else "tea"}
    for number, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES))
]


@pytest.fixture(scope="module")
def bench(tiny_model, tiny_tokenizer, tmp_path_factory):
    """A bench on six dialogues, train (twenty times each, so that their topics are classes), validation and test alike;
    the teacher has two layers.
    """
    import copy

    folder = tmp_path_factory.mktemp("world")
    config = copy.deepcopy(tiny_model.config)
    config.num_layers, config.num_decoder_layers, config.d_ff = 8, 8, 512
    splits = {
        split: [row | {"id": f"{split}-{turn}-{row['id']}"} for turn in range(turns) for row in ROWS]
        for split, turns in (("train", 20), ("validation", 1), ("test", 1))
    }
    return Bench(
        tiny_settings(folder, type(tiny_model)(config), tiny_tokenizer, splits, train_steps=4), folder / "kept"
    )


def test_every_point_has_a_name_of_its_own():
    names = [point.name for point in points()]
    assert len(set(names)) == len(names)
    assert {name[-2:] for name in names} == {f"s{seed}" for seed in SEEDS}
    assert Point(distilled(0.5, 4.0, 2e-3), 2, 300).name == "distilled-a0.5-t4-lr0.002-references-n300-s2"
    assert Point(full(2e-3), 1, steps=800).name == "full-lr0.002-references-n2500-k800-s1"
    assert Point(full(2e-3), 1, texts="teacher").name == "full-lr0.002-teacher-n2500-s1"
    assert ClassifierPoint(0.5, 3, 100).name == "classifier-a0.5-t2-lr0.008-n100-s3"


def test_a_share_of_nothing_is_ordinary_training():
    assert student(0) == full(RATE) and student(0.5, 4.0) == distilled(0.5, 4.0, RATE)
    assert {point.method.kind for point in sweeps()["mixtures"]} == {"full", "distilled"}


def test_smaller_draws_lie_within_larger_ones_and_a_seed_draws_its_own(bench):
    few, many, other = (bench.completions(Point(full(), seed, rows)) for seed, rows in ((1, 5), (1, 40), (2, 40)))
    assert few[0] == many[0][:5] and few[1] == many[1][:5] and many[0] != other[0]


def test_the_teachers_texts_take_the_references_place(bench):
    prompts, written = bench.completions(Point(full(), 1, 7, "teacher"))
    assert prompts == bench.completions(Point(full(), 1, 7))[0]
    assert written == [
        bench.teacher_texts[[row["dialogue"] in prompt for row in bench.train].index(True)] for prompt in prompts
    ]


def test_endless_dialogues_are_drawn_anew_and_the_teacher_summarizes_them(bench, monkeypatch):
    monkeypatch.setattr(bench, "written", lambda prompts: [prompt[-40:] for prompt in prompts])  # its window is short
    chosen = [Point(full(), seed, rows, "endless") for seed, rows in ((1, 3), (1, 6), (2, 6))]
    few, many, other = (bench.completions(point) for point in chosen)
    assert few[0] == many[0][:3] and len(set(many[0]) | set(other[0])) == 12
    assert many[1] == [prompt[-40:] for prompt in many[0]]
    assert not set(many[0]) & set(bench.completions(Point(full(), 1, 40))[0])


def test_no_endless_dialogue_comes_twice():
    endless = [point for point in sweeps()["endless"] if point.texts == "endless"]
    assert {point.rows / point.steps for point in endless} == {load_settings("pocket").batch_size}


def test_points_are_measured_and_kept(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("sweeps.distillation.PAUSE", 8)
    monkeypatch.setattr("sweeps.distillation.CLASS_STEPS", 6)
    monkeypatch.setattr("sweeps.distillation.CLASS_TEACHER", CLASS_TEACHER | {"steps": 6})
    chosen = [
        Point(full(1e-2), 1, 6, steps=8),
        Point(distilled(0.5, 2.0, 1e-2), 1, 6, steps=8),
        ClassifierPoint(0.5, 1, 12),
    ]
    bench.teacher_texts = list(SUMMARIES) * 20  # an untrained teacher says nothing that could be trained on
    run_sweep(chosen, bench, tmp_path / "results", tmp_path / "work")
    found = load_results(tmp_path / "results", COMMAND)
    assert set(found) == {"base", *(point.name for point in chosen)} and not list((tmp_path / "work").iterdir())
    assert found["base"]["student_parameters"] <= found["base"]["parameters"] / 2 and found["base"]["classes"] == [
        "cats",
        "tea",
    ]
    plain, taught, classified = (found[point.name] for point in chosen)
    assert len(plain["losses"]) == len(plain["rouge"]["rouge1"]) == len(classified["right"]) == len(ROWS)
    assert (
        taught["record"]["settings"]["teacher"] == found["base"]["teacher"]
        and "teacher" not in plain["record"]["settings"]
    )
    assert plain["losses"] != taught["losses"] and classified["parameters"] < found["base"]["classifier"]["parameters"]
    assert json.loads(json.dumps(taught)) == taught


def test_a_point_has_a_row_for_each_seed_and_a_missing_seed_is_named():
    results = Results(
        {Point(full(), seed).name: {"losses": [seed, 1.0], "rouge": {"rouge1": [0.5, seed]}} for seed in SEEDS}, COMMAND
    )
    assert results.scores(Point(full(), 1), "losses").tolist() == [[seed, 1] for seed in SEEDS]
    assert results.scores(Point(full(), 2), "rouge1").tolist() == [[0.5, seed] for seed in SEEDS]
    with pytest.raises(
        KeyError,
        match="classifier-a0-t2-lr0.008-n100-s1.json is not among the results; make it with: python -m "
        "sweeps.distillation",
    ):
        results.scores(ClassifierPoint(0.0, 1, 100), "losses")


@pytest.fixture(scope="module")
def kept():
    return load_results(FOLDER, COMMAND)


def test_the_kept_results_are_complete(kept):
    assert set(kept) == {"base", *(point.name for point in points())}
    assert len(kept["base"]["clusters"]) == len(kept["base"]["losses"])
    for name, found in kept.items():
        if "rouge" in found:
            assert len(found["losses"]) == len(found["rouge"]["rouge1"]) == len(kept["base"]["losses"]), name
        else:
            assert len(found["losses"]) == len(found["right"]) == len(kept["base"]["classifier"]["right"]), name
        assert np.isfinite(found["losses"]).all() and min(found["losses"]) >= 0, name  # small ones are rounded to 0


def test_the_kept_results_are_of_the_shipped_model_and_one_teacher(kept):
    settings = load_settings("pocket")
    for point in points():
        if isinstance(point, Point):
            record = kept[point.name]["record"]
            assert (record["settings"]["seed"], record["settings"]["steps"], record["settings"]["batch_size"]) == (
                point.seed,
                point.steps,
                settings.batch_size,
            ), point.name
            assert record["method"]["options"] == dict(point.method.options), point.name
            assert record["settings"].get("teacher", kept["base"]["teacher"]) == kept["base"]["teacher"], point.name
            assert record["total"] == kept["base"]["student_parameters"], point.name
    assert kept["base"]["parameters"] == sum(weight.numel() for weight in load_seq2seq(settings)[1].parameters())
    assert kept["base"]["teacher"] != fingerprint(load_seq2seq(settings)[1])


def lowest_validation_loss(record):
    return min(loss for _, loss in record["validation_losses"])


def test_rate_and_temperature_are_those_of_the_lowest_validation_loss_of_the_first_seed(kept):
    rates = {rate: lowest_validation_loss(kept[Point(full(rate), SEEDS[0]).name]["record"]) for rate in RATES}
    assert min(rates, key=rates.get) == RATE
    warm = {each: Point(student(ALPHA, each), SEEDS[0]) for each in TEMPERATURES}
    losses = {each: lowest_validation_loss(kept[point.name]["record"]) for each, point in warm.items()}
    assert min(losses, key=losses.get) == TEMPERATURE


def test_the_classifiers_rate_is_that_of_the_lowest_validation_loss_of_the_first_seed(kept):
    chosen = {rate: ClassifierPoint(0.0, SEEDS[0], FEW, rate=rate) for rate in CLASS_RATES}
    losses = {rate: kept[point.name]["validation_loss"] for rate, point in chosen.items()}
    assert min(losses, key=losses.get) == CLASS_RATE
