"""Training: one path for every method, on transformers' Seq2SeqTrainer; stopped runs resume, finished ones are loaded."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import platform
import shutil
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from peft import PeftModel
from transformers import EarlyStoppingCallback, PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback
from transformers.utils import logging as hf_logging

from helpers.hardware import PeakMemory
from helpers.methods import Method, adapt
from helpers.models import count_parameters, load_seq2seq
from helpers.pairs import Collator, SimilarLengths
from helpers.progress import progress
from helpers.runs import RECORD, Record, fingerprint, fingerprint_pairs, latest_checkpoint, notes, seal

logger = logging.getLogger(__name__)
EXPLODED = 3        # times the loss of a model that guesses all tokens alike


class TrainingError(RuntimeError):
    """A run that cannot go on or cannot be used; the message says what was found and what to change."""


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


class _Watch(TrainerCallback):
    """Seals checkpoints, measures, moves the progress bar and tells a listener about the losses."""

    def __init__(self, bar, listener, before):
        self.bar, self.listener = bar, listener
        self.before, self.start = before, time.perf_counter()
        self.optimizer_bytes = self.gradient_bytes = 0

    def seconds(self):
        return self.before + time.perf_counter() - self.start

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.gradient_bytes = sum(weight.grad.nbytes for weight in model.parameters() if weight.grad is not None)

    def on_step_end(self, args, state, control, optimizer=None, **_):
        self.bar.update(1)
        if not self.optimizer_bytes:
            inner = getattr(optimizer, "optimizer", optimizer)
            self.optimizer_bytes = sum(value.nbytes for slots in inner.state.values() for value in slots.values()
                                       if isinstance(value, torch.Tensor))

    def on_log(self, args, state, control, logs=None, **_):
        shown = {short: f"{logs[name]:.3f}" for name, short in (("loss", "loss"), ("eval_loss", "validation")) if name in logs}
        if shown:
            self.bar.set_postfix(shown | {"tokens/s": f"{self.trainer.tokens / self.seconds():,.0f}"})
            if self.listener:
                self.listener(losses(state.log_history, "loss"), losses(state.log_history, "eval_loss"))

    def on_save(self, args, state, control, **_):
        seal(Path(args.output_dir) / f"checkpoint-{state.global_step}", seconds=self.seconds(), tokens=self.trainer.tokens)


class _Trainer(Seq2SeqTrainer):
    """Batches of similar length in an order that a resumed run repeats; stops at a loss that is lost."""

    tokens = 0

    def _get_train_sampler(self, train_dataset=None):
        lengths = [len(prompt) + len(completion) for prompt, completion in
                   zip(self.train_dataset["input_ids"], self.train_dataset["labels"])]
        return SimilarLengths(lengths, self.args.train_batch_size * self.args.gradient_accumulation_steps, self.args.seed)

    def training_step(self, model, inputs, num_items_in_batch=None):
        loss = super().training_step(model, inputs, num_items_in_batch)
        value = loss.item() * self.args.gradient_accumulation_steps
        limit = EXPLODED * math.log(model.config.vocab_size)
        if not value < limit:       # NaN is not below anything
            raise TrainingError(f"loss: {value:.1f} nats at step {self.state.global_step + 1}, where guessing gives "
                                f"{limit / EXPLODED:.1f}; lower the learning rate (now {self.args.learning_rate:g}), and do not use float16")
        self.tokens += int(inputs["attention_mask"].sum()) + int((inputs["labels"] >= 0).sum())
        return loss

    def _issue_warnings_after_load(self, load_result):
        """Tied weights are stored once: their other names are not missing, and no reason for a warning."""
        weights = self.model.state_dict()
        stored = {weights[name].data_ptr() for name in set(weights) - set(load_result.missing_keys)}
        load_result.missing_keys[:] = [name for name in load_result.missing_keys if weights[name].data_ptr() not in stored]
        super()._issue_warnings_after_load(load_result)


@contextmanager
def _one_bar():
    """Keeps transformers from drawing a bar of its own for every file."""
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()


def losses(history, name) -> list[list]:
    """[[step, loss]] of a Trainer's log history; `name` is loss or eval_loss."""
    return [[entry["step"], entry[name]] for entry in history if name in entry]


def train(model, tokenizer, pairs, validation, method: Method, settings, folder, *, name: str | None = None,
          steps: int | None = None, batch_size: int | None = None, accumulation: int = 1, evaluations: int = 5,
          patience: int | None = None, listener: Callable | None = None, show_progress: bool = True) -> Run:
    """Adapts a copy of the model to the pairs, or loads the result if this very run was finished before.

    Whatever decides the result is part of the run's identity: method, base weights, pairs in their order, settings, versions.
    A run that was stopped goes on from its last whole checkpoint, and on a CPU ends at the weights it would have had anyway.

    Args:
        pairs, validation: as `helpers.pairs.encode_pairs` gives them; the best checkpoint is chosen by the validation loss.
        folder: finished runs lie in it, one folder each, with weights (safetensors) and record.json.
        name: what the run is called; the method's kind without one.
        steps: updates of the weights; batch_size: pairs in a batch; both from the settings without a value.
        accumulation: batches whose gradients are added up for one update.
        evaluations: how often in a run the validation loss is measured and a checkpoint written.
        patience: ends the run after so many evaluations without a lower validation loss; None never does.
        listener: called with losses and validation losses, lists of (step, nats per token), whenever there is a new one.
    Raises:
        TrainingError: the loss is not a number or far above that of guessing; memory ran out; the message says what to change.
        KeyboardInterrupt: on Ctrl-C; the same call goes on from the last checkpoint.
    """
    steps, batch_size = steps or settings.train_steps, batch_size or settings.batch_size
    identity = {"method": asdict(method), "base": fingerprint(model), "steps": steps, "batch_size": batch_size,
                "accumulation": accumulation, "evaluations": evaluations, "patience": patience, "seed": settings.seed,
                "dtype": settings.dtype, "device": settings.device, "pairs": fingerprint_pairs(pairs),
                "validation": fingerprint_pairs(validation),
                "versions": {package: version(package) for package in ("torch", "transformers", "peft", "accelerate")}}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    target = Path(folder) / f"{name or method.kind}-{key}"
    if (target / RECORD).exists():
        return load_run(target, model, settings)
    adapted = adapt(model, method, settings.seed).to(settings.device)
    work = target / "checkpoints"
    with _one_bar(), PeakMemory(settings.device) as memory, progress(total=steps, desc=name or method.kind, unit="step", disable=not show_progress) as bar:
        trainer, watch = _trainer(adapted, tokenizer, pairs, validation, identity, work, bar, listener)
        checkpoint = _resume_point(work, trainer, watch, bar)
        try:
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise TrainingError(f"batch_size: {batch_size} pairs need more memory than there is; {_advice(adapted, trainer, batch_size)}") from error
        adapted.eval().save_pretrained(target)
        tokenizer.save_pretrained(target)
    state, count = trainer.state, count_parameters(adapted)
    record = Record(name or method.kind, asdict(method), identity["base"], identity, count.trainable, count.total, watch.optimizer_bytes,
                    watch.gradient_bytes, memory.peak, sum(path.stat().st_size for path in target.glob("*.safetensors")),
                    watch.seconds(), trainer.tokens, losses(state.log_history, "loss"), losses(state.log_history, "eval_loss"),
                    state.best_global_step or state.global_step, state.global_step < steps, f"{platform.machine()}, {torch.get_num_threads()} threads")
    record.save(target)
    shutil.rmtree(work)
    return Run(adapted, record, target, loaded=False)


def _trainer(adapted, tokenizer, pairs, validation, identity, work, bar, listener):
    steps, device = identity["steps"], identity["device"]
    every = max(1, steps // identity["evaluations"])
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(work), max_steps=steps, per_device_train_batch_size=identity["batch_size"],
        per_device_eval_batch_size=identity["batch_size"], gradient_accumulation_steps=identity["accumulation"],
        learning_rate=identity["method"]["learning_rate"], lr_scheduler_type="linear", warmup_steps=min(20, steps // 10),
        optim="adamw_torch", eval_strategy="steps", eval_steps=every, save_strategy="steps", save_steps=every, save_total_limit=3,
        load_best_model_at_end=True, metric_for_best_model="eval_loss", greater_is_better=False, logging_steps=max(1, steps // 50),
        seed=identity["seed"], data_seed=identity["seed"], use_cpu=device == "cpu", bf16=identity["dtype"] == "bfloat16",
        report_to="none", disable_tqdm=True, remove_unused_columns=False, label_names=["labels"], prediction_loss_only=True)
    watch = _Watch(bar, listener, 0.0)
    stop = [EarlyStoppingCallback(identity["patience"])] if identity["patience"] else []
    by_length = sorted(range(len(validation)), key=lambda row: len(validation[row]["input_ids"]))
    trainer = _Trainer(model=adapted, args=arguments, train_dataset=pairs, eval_dataset=validation.select(by_length),
                       data_collator=Collator(tokenizer.pad_token_id), processing_class=tokenizer, callbacks=[watch, *stop])
    trainer.remove_callback(PrinterCallback)
    watch.trainer = trainer
    return trainer, watch


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
        TrainingError: the run started from another base model. ValueError: there is no readable record.
    """
    folder = Path(folder)
    record = Record.load(folder)
    if record.base != fingerprint(model):
        raise TrainingError(f"{folder}: was trained on another base model (weights {record.base[:10]}…) than the one given "
                            f"({fingerprint(model)[:10]}…); load it with its own, or train again")
    if record.method["kind"] == "full":
        trained = load_seq2seq(replace(settings, model=str(folder.resolve()), model_revision=None, dtype="float32"))[1]
    else:
        trained = PeftModel.from_pretrained(copy.deepcopy(model).float(), folder)
    return Run(trained.to(settings.device).eval(), record, folder, loaded=True)


def _is_out_of_memory(error):
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error) or "allocate memory" in str(error)


def _advice(model, trainer, batch_size):
    """The largest half, quarter … of the batch size whose longest pairs go through, forwards and backwards."""
    lengths = [len(prompt) for prompt in trainer.train_dataset["input_ids"]]
    longest = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while batch_size > 1:
        batch_size //= 2
        batch = trainer.data_collator([trainer.train_dataset[row] for row in longest[:batch_size]])
        try:
            model.zero_grad(set_to_none=True)
            model(**{key: value.to(model.device) for key, value in batch.items()}).loss.backward()
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            continue
        return f"batch_size={batch_size} fits: use it with a larger accumulation"
    return "not even a single pair fits: train LoRA instead of all weights, or a smaller model"
