import json

import pytest

from helpers import sweeps
from helpers.experiments import by_task
from helpers.methods import ATTENTION, full, lora
from helpers.settings import load_settings
from helpers.sweeps import Bench, Point, load_results, over_seeds, points, run_sweep, training_texts
from tests.conftest import DIALOGUES, SUMMARIES

ROWS = [{"id": f"row-{number}", "dialogue": dialogue, "summary": summary, "topic": "cats"}
        for number, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES))]
TASKS = [{"id": row["id"], "task": task, "prompt": f"{task}?", "answer": "cats", "part": "train"} for row in ROWS for task in ("topic", "tone")]


@pytest.fixture(scope="module")
def bench(tiny_model, tiny_tokenizer, tmp_path_factory):
    """A bench on six dialogues, train, validation and test alike."""
    folder = tmp_path_factory.mktemp("world")
    tiny_model.save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    (folder / "data").mkdir()
    for split in ("train", "validation", "test"):
        (folder / "data" / f"{split}.jsonl").write_text("".join(json.dumps(row | {"id": f"{split}-{row['id']}"}) + "\n" for row in ROWS))
    (folder / "tasks.jsonl").write_text("".join(json.dumps(
        {"id": f"{split}-{row['id']}", "task": task, "answer": "cats", "part": split}) + "\n"
        for split in ("train", "test") for row in ROWS for task in ("topic", "tone")))
    return Bench(load_settings("pocket", model=str(folder / "model"), data=str(folder / "data"), max_prompt_tokens=128, train_steps=4,
                               batch_size=2, max_new_tokens=60))


def test_every_point_has_a_name_of_its_own_and_three_seeds():
    names = [point.name for point in points()]
    assert len(set(names)) == len(names) and {name[-2:] for name in names} == {"s1", "s2", "s3"}
    assert {point.method.options["r"] for point in points("ranks")} == {1, 4, 8, 16, 64}
    assert Point(lora(8), 300, True, 2).name == "lora-r8-lr0.004-n300-mixed-s2"
    assert Point(lora(8, ATTENTION), 300, False, 2).name == "lora-r8-q+v-lr0.004-n300-s2"
    assert Point(full(), 2500, False, 1, 600).name == "full-lr0.0005-n2500-600steps-s1"
    with pytest.raises(ValueError, match="'rows' is not one of methods, ranks, targets, amounts"):
        points("rows")


def test_smaller_amounts_lie_within_larger_ones_and_mixtures_add_tasks():
    few, many = (training_texts(ROWS, TASKS, rows, False, seed=1) for rows in (2, 5))
    assert few[1] == many[1][:2] and len(many[0]) == 5 and training_texts(ROWS, TASKS, 5, False, seed=2) != many
    prompts, completions = training_texts(ROWS, TASKS, 5, True, seed=1)
    assert (prompts[:5], completions[:5]) == many and len(prompts) == 10 and set(completions[5:]) == {"cats"}


def test_a_sweep_goes_on_where_it_stopped(bench, tmp_path, monkeypatch):
    chosen = [Point(full(1e-2), 4, False, 1), Point(lora(2), 4, True, 1)]
    measured, stock = [], Bench.measure

    def stops(self, point, folder):
        measured.append(point.name)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return stock(self, point, folder)
    monkeypatch.setattr(sweeps.Bench, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(chosen, bench, tmp_path / "results", tmp_path / "work")
    run_sweep(chosen, bench, tmp_path / "results", tmp_path / "work")
    assert measured == [chosen[0].name, chosen[1].name, chosen[1].name]
    found = load_results(tmp_path / "results")
    assert set(found) == {"base", *(point.name for point in chosen)} and not list((tmp_path / "work").iterdir())
    assert len(found["base"]["rouge"]["rouge1"]) == 6 and len(found[chosen[1].name]["answered"]) == 12
    assert found["base"]["rouge"] != found[chosen[0].name]["rouge"]
    assert set(by_task(found["base"]["tasks"], found["base"]["answered"])) == {"topic", "tone"}


def test_without_results_the_command_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m helpers\.sweeps"):
        load_results(tmp_path)


def test_a_point_is_its_mean_over_the_seeds_and_a_missing_seed_is_named():
    results = {Point(full(), 2500, False, seed).name: {"rouge": {"rouge1": [0.1 * seed, 0.5]}, "answered": [1, seed % 2]} for seed in (1, 2, 3)}
    assert over_seeds(results, full()).tolist() == pytest.approx([0.2, 0.5])
    assert over_seeds(results, full(), metric="answered").tolist() == pytest.approx([1, 2 / 3])
    with pytest.raises(KeyError, match="full-lr0.0005-n300-s1.json is not among the results; make it with: python -m helpers.sweeps"):
        over_seeds(results, full(), 300)


def test_parts_share_the_points_between_them(monkeypatch):
    done = []
    monkeypatch.setattr(sweeps, "Bench", lambda settings: None)
    monkeypatch.setattr(sweeps, "run_sweep", lambda chosen, *_: done.append([point.name for point in chosen]))
    for part in ("1/2", "2/2"):
        sweeps.main(["--only", "ranks", "--part", part])
    assert sorted(done[0] + done[1]) == sorted(point.name for point in points("ranks")) and not set(done[0]) & set(done[1])


@pytest.mark.parametrize("part", ["0/2", "3/2", "half", "1"])
def test_a_part_that_makes_no_sense_is_named(part, capsys):
    with pytest.raises(SystemExit):
        sweeps.main(["--part", part])
    assert f"'{part}' is not of the form 1/2" in capsys.readouterr().err
