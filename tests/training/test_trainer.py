import copy
import math
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helpers.data.pairs import Collator
from helpers.models.generation import generate
from helpers.models.sizes import count_parameters
from helpers.run_records import Record, TrainingError, fault, fingerprint, resume_point
from helpers.training.finetuning_methods import bottleneck, distilled, ia3, prefix_tuning, prompt_tuning, selective
from helpers.training.finished_runs import load_run
from helpers.training.steady_trainer import SteadyTrainer, make_trainer
from helpers.training.trainer import train
from tests.tiny_world import tiny_bart
from tests.training.training_cases import METHODS, tiny_pairs, tiny_run, tiny_settings, with_dropout

ROOT = Path(__file__).parents[2]


def outputs(model, tokenizer):
    with torch.no_grad():
        return model(**Collator(tokenizer.pad_token_id)(list(tiny_pairs(tokenizer)))).logits


@pytest.fixture(scope="module")
def runs(tiny_model, tiny_tokenizer, tmp_path_factory):
    """A finished run of each kind, and the folder they lie in."""
    folder = tmp_path_factory.mktemp("runs")
    made = {kind: tiny_run(tiny_model, tiny_tokenizer, folder, kind, steps=40) for kind in METHODS}
    others = {
        "ia3": ia3(5e-2),
        "prefix": prefix_tuning(4, 1e-2),
        "prompt": prompt_tuning(4),
        "selective": selective(),
        "bottleneck": bottleneck(4, 1e-2),
    }
    for kind, method in others.items():
        made[kind] = train(
            tiny_model,
            tiny_tokenizer,
            tiny_pairs(tiny_tokenizer),
            tiny_pairs(tiny_tokenizer),
            method,
            tiny_settings(),
            folder,
            evaluations=3,
            show_progress=False,
        )
    return made


def test_two_at_once_train_a_run_once(tiny_model, tiny_tokenizer, tmp_path):
    first, second = [], []
    threads = [
        threading.Thread(
            target=lambda found=found: found.append(
                tiny_run(tiny_model, tiny_tokenizer, tmp_path, steps=4, evaluations=2)
            )
        )
        for found in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.loaded for run in (*first, *second)) == [False, True]
    assert first[0].record == second[0].record and first[0].folder == second[0].folder


def test_the_loss_falls_and_the_base_model_stays(runs, tiny_model, tiny_tokenizer, dialogues, summaries):
    for run in runs.values():
        assert run.record.validation_losses[-1][1] < run.record.validation_losses[0][1], run.record.name
        assert run.record.base == fingerprint(tiny_model) and not run.model.training
    assert generate(tiny_model, tiny_tokenizer, dialogues, show_progress=False) == summaries
    learned = generate(runs["full"].model, tiny_tokenizer, dialogues, show_progress=False)
    assert sum(text == new for text, new in zip(learned, summaries[1:] + summaries[:1])) >= 4


def test_the_record_says_what_was_measured(runs, tiny_model):
    for kind, run in runs.items():
        record, count = run.record, count_parameters(run.model)
        assert (record.method["kind"], record.trainable, record.total) == (kind, count.trainable, count.total)
        assert record.gradient_bytes == 4 * record.trainable and record.optimizer_bytes >= 8 * record.trainable
        assert record.seconds > 0 and record.tokens > 0 and record.file_bytes > 4 * record.trainable
        assert Record.load(run.folder) == record
        assert not list(run.folder.glob("checkpoint*"))
    assert runs["lora"].record.optimizer_bytes < runs["full"].record.optimizer_bytes / 4
    assert runs["lora"].record.file_bytes < runs["full"].record.file_bytes / 4


@pytest.mark.parametrize("kind", ["full", "lora", "ia3", "selective", "prefix", "prompt", "bottleneck"])
def test_a_finished_run_is_loaded_and_says_so(runs, tiny_model, tiny_tokenizer, kind):
    again = load_run(runs[kind].folder, tiny_model, tiny_settings())
    assert again.loaded and not runs[kind].loaded and "loaded" in str(again) and "trained now" in str(runs[kind])
    assert torch.allclose(outputs(again.model, tiny_tokenizer), outputs(runs[kind].model, tiny_tokenizer), atol=1e-5)


def test_the_same_call_loads_and_another_one_trains(runs, tiny_model, tiny_tokenizer):
    folder = runs["lora"].folder.parent
    assert tiny_run(tiny_model, tiny_tokenizer, folder, "lora", steps=40).loaded
    assert not tiny_run(tiny_model, tiny_tokenizer, folder, "lora", steps=4).loaded


def test_selective_training_leaves_all_other_weights_bit_for_bit(runs, tiny_model):
    before = dict(tiny_model.named_parameters())
    moved = {
        name for name, weight in runs["selective"].model.named_parameters() if not torch.equal(weight, before[name])
    }
    assert moved and all("EncDecAttention" in name for name in moved)


@pytest.mark.parametrize("grouped", [True, False])
def test_batches_hold_pairs_of_similar_length_or_of_all_kinds(grouped):
    pairs = {"input_ids": [[1] * 9, [1] * 90] * 20, "labels": [[1]] * 40}
    arguments = SimpleNamespace(train_batch_size=4, gradient_accumulation_steps=1, seed=1)
    trainer = SimpleNamespace(group_by_length=grouped, train_dataset=pairs, args=arguments)
    order, again = (list(SteadyTrainer._get_train_sampler(trainer)) for _ in range(2))
    assert order == again and sorted(order) == list(range(40))
    mixed = [len({row % 2 for row in order[start : start + 4]}) > 1 for start in range(0, 40, 4)]
    assert sum(mixed) <= 2 if grouped else sum(mixed) > 5  # the longest pair of all comes first, wherever it was


def test_mixed_lengths_are_a_run_of_their_own(tiny_model, tiny_tokenizer, tmp_path):
    usual, mixed = (
        tiny_run(tiny_model, tiny_tokenizer, tmp_path, "full", steps=2, **options)
        for options in ({}, {"group_by_length": False})
    )
    assert (
        usual.folder != mixed.folder
        and "group_by_length" not in usual.record.settings
        and mixed.record.settings["group_by_length"] is False
    )


@pytest.mark.parametrize("kind", ["full", "distilled"])
def test_accumulated_batches_train_as_one_large_batch(tiny_model, tiny_tokenizer, tmp_path, kind):
    method, teacher = (METHODS["full"], None) if kind == "full" else (distilled(0.5, 1.0, 1e-2), tiny_model)
    pairs = tiny_pairs(tiny_tokenizer)
    assert len(pairs) == 6 and len({len(labels) for labels in pairs["labels"]}) > 1  # batches differ in their labels
    large, *others = (
        train(
            tiny_model,
            tiny_tokenizer,
            pairs,
            pairs,
            method,
            tiny_settings(),
            tmp_path,
            steps=2,
            batch_size=batch_size,
            accumulation=6 // batch_size,
            evaluations=1,
            show_progress=False,
            teacher=teacher,
        )
        for batch_size in (6, 3, 2, 1)
    )
    assert "loss" not in large.record.settings  # a run without accumulation is known as it always was
    for run in others:
        assert run.record.losses[0][1] == pytest.approx(large.record.losses[0][1], rel=1e-5)
        assert run.record.losses[1][1] == pytest.approx(large.record.losses[1][1], rel=1e-3)
        assert run.record.tokens == large.record.tokens and run.record.settings["loss"]


def test_the_gradient_of_accumulated_batches_is_that_of_the_large_one(tiny_model, tiny_tokenizer, tmp_path):
    pairs, identity = tiny_pairs(tiny_tokenizer), {"steps": 1, "evaluations": 1, "seed": 0, "patience": None}
    identity |= {"device": "cpu", "dtype": "float32", "method": {"learning_rate": 1e-2}}
    models = {"T5": tiny_model, "BART": with_dropout(tiny_bart(128), share=0.0)}
    for name, model in models.items():
        found = {}
        for batch_size in (6, 3, 2, 1):
            adapted, counts = copy.deepcopy(model), {"batch_size": batch_size, "accumulation": 6 // batch_size}
            work, bar = tmp_path / f"{name}-{batch_size}", SimpleNamespace()
            trainer, _ = make_trainer(adapted, tiny_tokenizer, pairs, pairs, identity | counts, work, bar, None, None)
            batches = iter(trainer.get_train_dataloader())
            batches, labels = trainer.get_batch_samples(batches, 6 // batch_size, "cpu")
            trainer.create_optimizer()
            trainer.current_gradient_accumulation_steps = len(batches)
            loss = sum(trainer.training_step(adapted, batch, labels).item() for batch in batches)
            found[batch_size] = loss, {name: weight.grad for name, weight in adapted.named_parameters()}
        for loss, gradients in found.values():
            assert loss == pytest.approx(found[6][0], rel=1e-5), name
            for weight, gradient in gradients.items():
                torch.testing.assert_close(gradient, found[6][1][weight], rtol=1e-3, atol=1e-5)


def test_merging_lora_keeps_the_outputs(runs, tiny_tokenizer):
    merged = copy.deepcopy(runs["lora"].model).merge_and_unload()
    assert torch.allclose(outputs(merged, tiny_tokenizer), outputs(runs["lora"].model, tiny_tokenizer), atol=1e-4)


def test_without_its_adapter_the_model_is_the_base_again(runs, tiny_model, tiny_tokenizer):
    with runs["lora"].model.disable_adapter():
        assert torch.equal(outputs(runs["lora"].model, tiny_tokenizer), outputs(tiny_model, tiny_tokenizer))


def test_an_adapter_of_another_base_model_is_refused(runs, tiny_model):
    other = with_dropout(tiny_model)
    with torch.no_grad():
        other.shared.weight[0, 0] += 1
    with pytest.raises(TrainingError, match="another base model"):
        load_run(runs["lora"].folder, other, tiny_settings())


def test_a_broken_record_is_named(runs, tiny_model, tmp_path):
    (tmp_path / "record.json").write_text('{"name": "lora"', encoding="utf-8")
    with pytest.raises(ValueError, match="record.json"):
        load_run(tmp_path, tiny_model, tiny_settings())


@pytest.fixture(scope="module")
def uninterrupted(tiny_model, tiny_tokenizer, tmp_path_factory):
    """(folder of the base model as saved and loaded, final weights of each kind of run on it)."""
    from transformers import AutoModelForSeq2SeqLM

    source = tmp_path_factory.mktemp("base")
    tiny_model.save_pretrained(source)
    tiny_tokenizer.save_pretrained(source)
    base = with_dropout(AutoModelForSeq2SeqLM.from_pretrained(source))
    folder = tmp_path_factory.mktemp("whole")
    return source, base, {kind: tiny_run(base, tiny_tokenizer, folder, kind).model.state_dict() for kind in METHODS}


@pytest.mark.parametrize("kind", [pytest.param("full", marks=pytest.mark.full), "lora"])
def test_a_killed_run_ends_at_the_weights_of_an_uninterrupted_one(
    uninterrupted, tiny_tokenizer, tmp_path, kind, caplog
):
    source, base, expected = uninterrupted
    killed = subprocess.run(
        [sys.executable, "-m", "tests.training.training_cases", source, tmp_path, kind, "9"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
        encoding="utf-8",
    )
    assert killed.returncode in (-9, 9), killed.stderr
    work = next(tmp_path.glob("*/checkpoints"))
    newest = resume_point(work)
    assert newest.name == "checkpoint-8" and not caplog.records
    with (newest / "optimizer.pt").open("r+b") as file:  # as a full disk or a power cut leaves it
        file.truncate(100)
    resumed = tiny_run(base, tiny_tokenizer, tmp_path, kind)
    assert "checkpoint-8 is skipped and deleted: optimizer.pt has 100 of" in caplog.text
    weights = resumed.model.state_dict()
    assert all(torch.equal(weights[name], expected[kind][name]) for name in expected[kind])
    assert resumed.record.losses[-1][0] == 12 and resumed.record.tokens > 0


def test_a_checkpoint_without_its_seal_is_no_checkpoint(tmp_path):
    (tmp_path / "checkpoint-4").mkdir()
    assert fault(tmp_path / "checkpoint-4") == "was not written to its end"
    assert resume_point(tmp_path) is None


@pytest.mark.parametrize(("factor", "found"), [(1000.0, r"\d+\.\d"), (float("nan"), "nan")])
def test_a_lost_loss_names_the_step_and_the_rate(tiny_model, tiny_tokenizer, tmp_path, factor, found):
    broken = with_dropout(tiny_model)
    with torch.no_grad():
        broken.shared.weight.mul_(factor)
    with pytest.raises(
        TrainingError,
        match=rf"loss: {found} nats at step 1, where guessing gives "
        rf"{math.log(tiny_model.config.vocab_size):.1f}.*now 0.01",
    ):
        tiny_run(broken, tiny_tokenizer, tmp_path, "full")


def test_out_of_memory_names_the_batch_size_that_fits(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    stock = type(tiny_model).forward

    def narrow(self, input_ids=None, **rest):
        if len(input_ids) > 1:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")
        return stock(self, input_ids=input_ids, **rest)

    monkeypatch.setattr(type(tiny_model), "forward", narrow)
    with pytest.raises(
        TrainingError,
        match=r"batch_size: 2 pairs.*batch_size=1 fits: use it with accumulation=6, an update of 6 pairs \(now 6\)",
    ):
        tiny_run(tiny_model, tiny_tokenizer, tmp_path, accumulation=3)


def test_validation_ends_a_run_that_gets_no_better(tiny_model, tiny_tokenizer, tmp_path):
    options = {"known": True, "steps": 40, "evaluations": 10, "patience": 2}
    run = tiny_run(tiny_model, tiny_tokenizer, tmp_path, "full", **options)
    best = min(run.record.validation_losses, key=lambda entry: entry[1])[0]
    assert run.record.stopped_early and run.record.best_step == best  # weights are those of the lowest loss
    assert run.record.losses[-1][0] == best + 2 * 4 < 40  # two evaluations, four steps apart, were no better


def test_bfloat16_settings_train_float32_weights_in_autocast(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    seen, stock = set(), torch.nn.functional.linear
    monkeypatch.setattr(
        torch.nn.functional, "linear", lambda *given: (result := stock(*given), seen.add(result.dtype))[0]
    )
    settings = replace(tiny_settings(), dtype="bfloat16")
    run = train(
        tiny_model,
        tiny_tokenizer,
        tiny_pairs(tiny_tokenizer),
        tiny_pairs(tiny_tokenizer),
        METHODS["lora"],
        settings,
        tmp_path,
        steps=4,
        evaluations=1,
        show_progress=False,
    )
    assert seen == {torch.bfloat16} and {weight.dtype for weight in run.model.parameters()} == {torch.float32}


@pytest.mark.usefixtures("hears_all")
def test_the_listener_sees_the_losses(tiny_model, tiny_tokenizer, tmp_path):
    heard = []
    tiny_run(
        tiny_model,
        tiny_tokenizer,
        tmp_path,
        listener=lambda train, validation: heard.append((len(train), len(validation))),
    )
    assert heard[-1] == (12, 6) and len(heard) >= 18 and heard == sorted(set(heard))
