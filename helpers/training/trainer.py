"""Training: one path for every method; stopped runs resume, finished ones are loaded.

A run is known by all that decides its result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import shutil
import traceback
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from helpers.hardware import PeakMemory
from helpers.models.sizes import count_parameters
from helpers.progress import one_bar, progress
from helpers.run_records import (
    RECORD,
    Record,
    TrainingError,
    claimed,
    fingerprint,
    fingerprint_pairs,
    notes,
    resume_point,
)
from helpers.training.bottleneck_adapters import save_bottlenecks
from helpers.training.finetuning_methods import Method, adapt
from helpers.training.finished_runs import Run, load_run
from helpers.training.steady_trainer import batch_size_advice, is_out_of_memory, losses, make_trainer, resume_fault

logger = logging.getLogger(__name__)
PACKAGES = ("torch", "transformers", "peft", "accelerate")  # whose versions decide a result


def train(
    model,
    tokenizer,
    pairs,
    validation,
    method: Method,
    settings,
    folder,
    *,
    name: str | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    accumulation: int = 1,
    evaluations: int = 5,
    patience: int | None = None,
    listener: Callable | None = None,
    show_progress: bool = True,
    teacher=None,
    group_by_length: bool = True,
) -> Run:
    """Adapts a copy of the model to the pairs, or loads the result if this very run was finished before.

    Everything that decides the result is part of the run's identity: method, base weights, pairs in their order,
    settings, versions. A run that was stopped goes on from its last whole checkpoint, and on a CPU ends at the weights
    it would have had anyway. Where two processes train the same run, the second waits for the first, and loads its
    result.

    Args:
        pairs, validation: as `helpers.data.pairs.encode_pairs` gives them; the best checkpoint is chosen by the
            validation loss.
        folder: finished runs lie in it, one folder each, with weights (safetensors) and record.json.
        name: what the run is called; the method's kind without one.
        steps: updates of the weights, in quick size a share of them; batch_size: pairs in a batch; both from the
            settings without a value.
        accumulation: batches whose gradients are added up for one update. Up to rounding, loss and gradient are those
            of one batch of batch_size × accumulation pairs: the mean over all their labels. Dropout draws other
            numbers.
        evaluations: how often in a run the validation loss is measured and a checkpoint written.
        patience: ends the run after so many evaluations without a lower validation loss; None never does.
        listener: called with losses and validation losses, lists of (step, nats per token), when there are new ones,
            and at the end; where it is slow, so rarely that it takes little of the time (`helpers.progress.Sparing`).
        teacher: the frozen model whose soft labels the method "distilled" learns from; its weights are then part of the
            run's identity. Its losses are those of `distillation_loss`; validation is the cross-entropy with the
            references for every method.
        group_by_length: batches of similar length, which waste little on padding. Where length tells what kind of task
            a pair is, each batch then teaches one kind alone and the next another one, which can keep a model from
            learning any of them: False mixes them.
    Raises:
        ValueError: a teacher and a method that does not learn from one, or the reverse; a teacher with another
            vocabulary.
        TrainingError: the loss is not a number or far above that of guessing; memory ran out; the message says what to
            change.
        KeyboardInterrupt: on Ctrl-C; the same call goes on from the last checkpoint.
    """
    _check_teacher(model, method, teacher)
    steps = settings.scaled(steps) if steps else settings.train_steps
    batch_size = batch_size or settings.batch_size
    evaluations = settings.scaled(evaluations, least=1)
    counts = {"steps": steps, "batch_size": batch_size, "accumulation": accumulation, "evaluations": evaluations}
    identity = _identity(model, method, settings, pairs, validation, teacher, group_by_length)
    identity |= {**counts, "patience": patience}
    if accumulation > 1:  # only then: earlier runs with accumulation had a loss that was too large by that factor
        identity["loss"] = "mean over the labels of an update"
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    target = Path(folder) / f"{name or method.kind}-{key}"
    if (target / RECORD).exists():
        return load_run(target, model, settings)
    with claimed(target):
        if (target / RECORD).exists():  # another process has finished it in the meantime
            return load_run(target, model, settings)
        return _train(
            adapt(model, method, settings.seed).to(settings.device),
            tokenizer,
            pairs,
            validation,
            name or method.kind,
            identity,
            target,
            listener,
            show_progress,
            teacher,
        )


def _identity(model, method, settings, pairs, validation, teacher, group_by_length):
    """What decides a run's result, but for its numbers of steps and pairs."""
    packages = (*PACKAGES, "torchao") if method.kind == "qat" else PACKAGES
    found = {
        "method": asdict(method),
        "base": fingerprint(model),
        "seed": settings.seed,
        "dtype": settings.dtype,
        "device": settings.device,
        "pairs": fingerprint_pairs(pairs),
        "validation": fingerprint_pairs(validation),
        "versions": {package: version(package) for package in packages},
    }
    if teacher is not None:
        found["teacher"] = fingerprint(teacher)
    if not group_by_length:  # only then: runs that were made before this could be chosen keep their identity
        found["group_by_length"] = False
    return found


def _check_teacher(model, method, teacher):
    if (teacher is not None) != (method.kind == "distilled"):
        raise ValueError(
            f"teacher: {'is missing for' if teacher is None else 'says nothing to'} the method {method.kind!r}; "
            "helpers.training.finetuning_methods.distilled learns from a teacher, the other methods have none"
        )
    if teacher is not None and teacher.config.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"teacher: has a vocabulary of {teacher.config.vocab_size:,} tokens, the student one of "
            f"{model.config.vocab_size:,}; "
            "soft labels need the same, a teacher's texts do not"
        )


def _train(adapted, tokenizer, pairs, validation, name, identity, target, listener, show_progress, teacher):
    """From the last checkpoint, if there is one, to the record."""
    work, steps, batch_size = target / "checkpoints", identity["steps"], identity["batch_size"]
    with (
        one_bar(),
        PeakMemory(identity["device"]) as memory,
        progress(total=steps, desc=name, unit="step", disable=not show_progress) as bar,
    ):
        trainer, watch = make_trainer(
            adapted, tokenizer, pairs, validation, identity, work, bar, listener, memory, teacher
        )
        checkpoint = _resume_point(work, trainer, watch, bar)
        try:
            if checkpoint and trainer.finished_at(checkpoint):  # stopped between its last step and its record
                watch.tell_all()
                if not watch.optimizer_bytes:
                    logger.warning("%s: an earlier version kept no bytes; its record says 0", checkpoint)
            else:
                trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
            bar.refresh()  # all its steps, however few of them were drawn
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # else the tensors of the failed step stay in memory
            raise TrainingError(
                f"batch_size: {batch_size} pairs need more memory than there is; "
                f"{batch_size_advice(adapted, trainer, batch_size, identity['accumulation'])}"
            ) from error
        if identity["method"]["kind"] == "bottleneck":
            save_bottlenecks(adapted.eval(), target)
        else:
            adapted.eval().save_pretrained(target)
        tokenizer.save_pretrained(target)
    state, count = trainer.state, count_parameters(adapted)
    record = Record(
        name=name,
        method=identity["method"],
        base=identity["base"],
        settings=identity,
        trainable=count.trainable,
        total=count.total,
        optimizer_bytes=watch.optimizer_bytes,
        gradient_bytes=watch.gradient_bytes,
        peak_memory_bytes=max(watch.peak_memory_bytes, memory.peak),
        file_bytes=sum(path.stat().st_size for path in target.glob("*.safetensors")),
        seconds=watch.seconds(),
        tokens=trainer.tokens,
        losses=losses(state.log_history, "loss"),
        validation_losses=losses(state.log_history, "eval_loss"),
        best_step=state.best_global_step or state.global_step,
        stopped_early=state.global_step < steps,
        machine=f"{platform.machine()}, {torch.get_num_threads()} threads",
    )
    record.save(target)
    shutil.rmtree(work)
    return Run(adapted, record, target, loaded=False)


def _resume_point(work, trainer, watch, bar):
    checkpoint = resume_point(work, resume_fault)
    if checkpoint:
        kept = notes(checkpoint)
        watch.before, trainer.tokens = kept["seconds"], kept["tokens"]
        if "optimizer_bytes" in kept:  # earlier versions kept none: the next step measures them
            watch.optimizer_bytes, watch.gradient_bytes = kept["optimizer_bytes"], kept["gradient_bytes"]
            watch.peak_memory_bytes = kept["peak_memory_bytes"]
        bar.update(int(checkpoint.name.split("-")[1]))
    return checkpoint
