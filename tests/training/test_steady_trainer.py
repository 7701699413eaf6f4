import shutil
import weakref
from dataclasses import replace

import pytest
import torch

from helpers.run_records import TrainingError
from helpers.training.steady_trainer import is_out_of_memory
from tests.training.training_cases import tiny_run


def stopped_at(step):
    """A listener that stops the run as Ctrl-C does, once it has heard of this step."""

    def listen(losses, _):
        if losses and losses[-1][0] >= step:
            raise KeyboardInterrupt

    return listen


@pytest.mark.usefixtures("hears_all")
def test_a_resumed_run_keeps_its_patience(tiny_model, tiny_tokenizer, tmp_path):
    options = {"known": True, "steps": 40, "evaluations": 20, "patience": 3}

    def run(folder, listener=None):
        return tiny_run(tiny_model, tiny_tokenizer, tmp_path / folder, "full", listener=listener, **options)

    whole = run("whole").record
    last = whole.losses[-1][0]
    assert whole.stopped_early and last < 40
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stopped_at(last - 1))  # after the second evaluation that was no better
    resumed = run("stopped").record
    assert resumed.losses == whole.losses and resumed.validation_losses == whole.validation_losses
    assert resumed.stopped_early and resumed.best_step == whole.best_step


@pytest.mark.usefixtures("hears_all")
@pytest.mark.parametrize("lost", ["damaged", "gone", "moved"])
def test_a_resumed_run_keeps_its_best_weights(tiny_model, tiny_tokenizer, tmp_path, caplog, lost):
    def run(folder, listener=None):
        return tiny_run(tiny_model, tiny_tokenizer, tmp_path / folder, "full", known=True, listener=listener)

    whole = run("whole")
    assert whole.record.best_step == 2  # evaluated and written after every second of twelve steps
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stopped_at(9))
    best = next((tmp_path / "stopped").glob("*/checkpoints/checkpoint-2"))
    if lost == "damaged":
        (best / "model.safetensors").write_bytes(b"")
    elif lost == "gone":
        shutil.rmtree(best)
    else:
        shutil.move(tmp_path / "stopped", tmp_path / "elsewhere")
    resumed = run("elsewhere" if lost == "moved" else "stopped")
    skipped = "checkpoint-8 is skipped and deleted: it needs the best weights, in checkpoint-2, which is not whole"
    assert (skipped in caplog.text) == (lost != "moved")
    assert resumed.record.best_step == 2 and resumed.record.losses == whole.record.losses
    weights = resumed.model.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in whole.model.state_dict().items())


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.89 GB, max allowed: 9.07 GB)."), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_out_of_memory_is_known_on_every_device(error, found):
    assert is_out_of_memory(error) is found


def test_the_failed_step_holds_no_memory_while_the_advice_is_measured(
    tiny_model, tiny_tokenizer, tmp_path, monkeypatch
):
    stock, failed, alive = type(tiny_model).forward, [], []

    def narrow(self, input_ids=None, **rest):
        alive.append(sum(tensor() is not None for tensor in failed))
        if len(input_ids) > 1:
            activations = torch.zeros(1000)
            failed.append(weakref.ref(activations))
            raise RuntimeError("MPS backend out of memory (MPS allocated: 8.89 GB, max allowed: 9.07 GB).")
        return stock(self, input_ids=input_ids, **rest)

    monkeypatch.setattr(type(tiny_model), "forward", narrow)
    with pytest.raises(TrainingError, match="batch_size: 4 pairs.*batch_size=1 fits"):
        tiny_run(tiny_model, tiny_tokenizer, tmp_path, batch_size=4)
    assert len(failed) == 2 and alive == [0, 0, 0, 0]  # in training; with two pairs; twice with one


@pytest.mark.usefixtures("hears_all")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("full", {"steps": 10, "evaluations": 5}),  # an epoch has 3 updates: the last one is not full
        ("lora", {"steps": 10, "evaluations": 5}),
        ("full", {"steps": 40, "evaluations": 20, "patience": 1, "known": True}),  # ended by validation
    ],
)
def test_a_run_stopped_before_its_record_has_the_record_of_an_uninterrupted_one(
    tiny_model, tiny_tokenizer, tmp_path, monkeypatch, kind, options
):
    heard = []

    def run(folder):
        told = {"listener": lambda *losses: heard.append(losses)}
        return tiny_run(tiny_model, tiny_tokenizer, tmp_path / folder, kind, **told, **options)

    def stop(self, folder, **_):
        if not str(folder).count("checkpoint"):
            raise KeyboardInterrupt
        return stock(self, folder)

    whole, stock = run("whole"), type(tiny_tokenizer).save_pretrained
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(tiny_tokenizer), "save_pretrained", stop)
        run("stopped")
    heard.clear()
    resumed = run("stopped")
    assert not resumed.loaded and heard == [(whole.record.losses, whole.record.validation_losses)]
    machine = {"seconds": 0, "peak_memory_bytes": 0}  # differ from run to run
    assert replace(resumed.record, **machine) == replace(whole.record, **machine)
    assert whole.record.stopped_early == ("patience" in options) and resumed.record.peak_memory_bytes > 0
    weights = resumed.model.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in whole.model.state_dict().items())
