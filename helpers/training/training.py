"""Training: one path for every method; stopped runs resume, finished ones are loaded."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError

from helpers.hardware import PeakMemory
from helpers.training.methods import WHOLE, Method, adapt
from helpers.models.loading import load_seq2seq
from helpers.progress import one_bar, progress
from helpers.compression.quantized_models import fake_quantized
from helpers.runs import RECORD, Record, fingerprint, fingerprint_pairs, latest_checkpoint, notes
from helpers.models.sizes import count_parameters
from helpers.training.trainer import TrainingError, batch_size_advice, is_out_of_memory, losses, make_trainer

logger = logging.getLogger(__name__)
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"       # as peft writes them
PACKAGES = ("torch", "transformers", "peft", "accelerate")      # whose versions decide a result


@dataclass(frozen=True)
class Run:
    """A trained model in evaluation mode, its record and folder, and whether it was loaded instead of trained just now."""
    model: object
    record: Record
    folder: Path
    loaded: bool

    def __str__(self):
        record = self.record
        how = "loaded, trained earlier" if self.loaded else "trained now"
        return (f"{record.name} ({how}): {record.trainable:,} of {record.total:,} parameters ({record.trainable / record.total:.2%}), "
                f"{record.seconds:.0f} s, {record.tokens_per_second:,.0f} tokens/s, validation loss {min(loss for _, loss in record.validation_losses):.3f}")


def train(model, tokenizer, pairs, validation, method: Method, settings, folder, *, name: str | None = None,
          steps: int | None = None, batch_size: int | None = None, accumulation: int = 1, evaluations: int = 5,
          patience: int | None = None, listener: Callable | None = None, show_progress: bool = True, teacher=None, group_by_length: bool = True) -> Run:
    """Adapts a copy of the model to the pairs, or loads the result if this very run was finished before.

    Whatever decides the result is part of the run's identity: method, base weights, pairs in their order, settings, versions.
    A run that was stopped goes on from its last whole checkpoint, and on a CPU ends at the weights it would have had anyway.

    Args:
        pairs, validation: as `helpers.data.pairs.encode_pairs` gives them; the best checkpoint is chosen by the validation loss.
        folder: finished runs lie in it, one folder each, with weights (safetensors) and record.json.
        name: what the run is called; the method's kind without one.
        steps: updates of the weights; batch_size: pairs in a batch; both from the settings without a value.
        accumulation: batches whose gradients are added up for one update.
        evaluations: how often in a run the validation loss is measured and a checkpoint written.
        patience: ends the run after so many evaluations without a lower validation loss; None never does.
        listener: called with losses and validation losses, lists of (step, nats per token), when there are new ones, and at the end;
            where it is slow, so rarely that it takes little of the time (`helpers.progress.Sparing`).
        teacher: the frozen model whose soft labels the method "distilled" learns from; its weights are then part of the run's identity.
            Its losses are those of `distillation_loss`; validation is the cross-entropy with the references for every method.
        group_by_length: batches of similar length, which waste little on padding. Where length tells what kind of task a pair is, each batch
            then teaches one kind alone and the next another one, which can keep a model from learning any of them: False mixes them.
    Raises:
        ValueError: a teacher and a method that does not learn from one, or the reverse; a teacher with another vocabulary.
        TrainingError: the loss is not a number or far above that of guessing; memory ran out; the message says what to change.
        KeyboardInterrupt: on Ctrl-C; the same call goes on from the last checkpoint.
    """
    _check_teacher(model, method, teacher)
    steps, batch_size = steps or settings.train_steps, batch_size or settings.batch_size
    identity = {"method": asdict(method), "base": fingerprint(model), "steps": steps, "batch_size": batch_size,
                "accumulation": accumulation, "evaluations": evaluations, "patience": patience, "seed": settings.seed,
                "dtype": settings.dtype, "device": settings.device, "pairs": fingerprint_pairs(pairs),
                "validation": fingerprint_pairs(validation),
                "versions": {package: version(package) for package in (*PACKAGES, *(["torchao"] if method.kind == "qat" else []))}}
    if teacher is not None:
        identity["teacher"] = fingerprint(teacher)
    if not group_by_length:     # only then: runs that were made before this could be chosen keep their identity
        identity["group_by_length"] = False
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    target = Path(folder) / f"{name or method.kind}-{key}"
    if (target / RECORD).exists():
        return load_run(target, model, settings)
    return _train(adapt(model, method, settings.seed).to(settings.device), tokenizer, pairs, validation, name or method.kind, identity, target,
                  listener, show_progress, teacher)


def _check_teacher(model, method, teacher):
    if (teacher is not None) != (method.kind == "distilled"):
        raise ValueError(f"teacher: {'is missing for' if teacher is None else 'says nothing to'} the method {method.kind!r}; "
                         "helpers.training.methods.distilled learns from a teacher, the other methods have none")
    if teacher is not None and teacher.config.vocab_size != model.config.vocab_size:
        raise ValueError(f"teacher: has a vocabulary of {teacher.config.vocab_size:,} tokens, the student one of {model.config.vocab_size:,}; "
                         "soft labels need the same, a teacher's texts do not")


def _train(adapted, tokenizer, pairs, validation, name, identity, target, listener, show_progress, teacher):
    """From the last checkpoint, if there is one, to the record."""
    work, steps, batch_size = target / "checkpoints", identity["steps"], identity["batch_size"]
    with one_bar(), PeakMemory(identity["device"]) as memory, progress(total=steps, desc=name, unit="step", disable=not show_progress) as bar:
        trainer, watch = make_trainer(adapted, tokenizer, pairs, validation, identity, work, bar, listener, teacher)
        checkpoint = _resume_point(work, trainer, watch, bar)
        try:
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
            bar.refresh()       # all its steps, however few of them were drawn
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(f"batch_size: {batch_size} pairs need more memory than there is; {batch_size_advice(adapted, trainer, batch_size)}") from error
        adapted.eval().save_pretrained(target)
        tokenizer.save_pretrained(target)
    state, count = trainer.state, count_parameters(adapted)
    record = Record(
        name=name, method=identity["method"], base=identity["base"], settings=identity, trainable=count.trainable, total=count.total,
        optimizer_bytes=watch.optimizer_bytes, gradient_bytes=watch.gradient_bytes, peak_memory_bytes=memory.peak,
        file_bytes=sum(path.stat().st_size for path in target.glob("*.safetensors")), seconds=watch.seconds(), tokens=trainer.tokens,
        losses=losses(state.log_history, "loss"), validation_losses=losses(state.log_history, "eval_loss"),
        best_step=state.best_global_step or state.global_step, stopped_early=state.global_step < steps,
        machine=f"{platform.machine()}, {torch.get_num_threads()} threads")
    record.save(target)
    shutil.rmtree(work)
    return Run(adapted, record, target, loaded=False)


def _resume_point(work, trainer, watch, bar):
    checkpoint, faults = latest_checkpoint(work)
    for sentence in faults:
        logger.warning(sentence)
        bar.write(sentence)
    if checkpoint:
        kept = notes(checkpoint)
        watch.before, trainer.tokens = kept["seconds"], kept["tokens"]
        bar.update(int(checkpoint.name.split("-")[1]))
    return checkpoint


def load_run(folder, model, settings) -> Run:
    """A finished run, its adapter put on a copy of `model`, or its whole model loaded.

    Raises:
        TrainingError: the run started from another base model, or its adapter is not there as safetensors. ValueError: there is no readable record.
    """
    folder = Path(folder)
    record = Record.load(folder)
    if record.base != fingerprint(model):
        raise TrainingError(f"{folder}: was trained on another base model (weights {record.base[:10]}…) than the one given "
                            f"({fingerprint(model)[:10]}…); load it with its own, or train again")
    if record.method["kind"] in WHOLE:
        trained = load_seq2seq(replace(settings, model=str(folder.resolve()), model_revision=None, dtype="float32"))[1]
        if record.method["kind"] == "qat":
            trained = fake_quantized(trained, **record.method["options"])
    else:
        trained = load_adapter(folder, model)
    return Run(trained.to(settings.device).eval(), record, folder, loaded=True)


def load_adapter(folder, model):
    """The adapter of a folder on a copy of `model`, in float32 and evaluation mode.

    Raises:
        TrainingError: there is no adapter as safetensors, or it does not fit the model.
    """
    folder = Path(folder)
    if not (folder / ADAPTER).is_file():      # peft would go on to pickles, and then to the hub
        raise TrainingError(f"{folder}: has no {ADAPTER}; weights in another format are not read. Delete the folder to train again")
    try:
        return PeftModel.from_pretrained(copy.deepcopy(model).float(), folder).eval()
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(f"{folder}: its adapter does not fit {type(model).__name__}, or is damaged ({str(error).splitlines()[0][:200]}); "
                            "load it on the model that it was trained on") from error
