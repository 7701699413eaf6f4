"""Training: one path for every method, on transformers' Seq2SeqTrainer; stopped runs resume, finished ones are loaded.

Batches are steady, checkpoints are sealed, and errors say what to change.
"""

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
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)

from helpers.compression.distillation import distillation_loss
from helpers.compression.quantized_models import fake_quantized
from helpers.data.pairs import Collator, SimilarLengths
from helpers.hardware import PeakMemory
from helpers.models.loading import load_seq2seq
from helpers.models.sizes import count_parameters
from helpers.progress import Sparing, one_bar, progress
from helpers.run_records import RECORD, Record, claimed, fingerprint, fingerprint_pairs, latest_checkpoint, notes, seal
from helpers.training.bottleneck_adapters import load_bottlenecks, save_bottlenecks
from helpers.training.finetuning_methods import WHOLE, Method, adapt

EXPLODED = 3  # times the loss of a model that guesses all tokens alike
logger = logging.getLogger(__name__)
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # as peft writes them
PACKAGES = ("torch", "transformers", "peft", "accelerate")  # whose versions decide a result


class TrainingError(RuntimeError):
    """A run that cannot go on or cannot be used; the message says what was found and what to change."""


class Watch(TrainerCallback):
    """Seals checkpoints, measures, moves the progress bar and tells a listener about the losses."""

    def __init__(self, bar, listener, before):
        self.bar, self.listener = bar, Sparing(listener)
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
            self.optimizer_bytes = sum(
                value.nbytes
                for slots in inner.state.values()
                for value in slots.values()
                if isinstance(value, torch.Tensor)
            )

    def on_log(self, args, state, control, logs=None, **_):
        shown = {
            short: f"{logs[name]:.3f}"
            for name, short in (("loss", "loss"), ("eval_loss", "validation"))
            if name in logs
        }
        if shown:
            self.bar.set_postfix(shown | {"tokens/s": f"{self.trainer.tokens / self.seconds():,.0f}"}, refresh=False)
            self.listener(losses(state.log_history, "loss"), losses(state.log_history, "eval_loss"))

    def on_train_end(self, args, state, control, **_):
        self.listener.finish()

    def on_save(self, args, state, control, **_):
        seal(
            Path(args.output_dir) / f"checkpoint-{state.global_step}",
            seconds=self.seconds(),
            tokens=self.trainer.tokens,
        )


class SteadyTrainer(Seq2SeqTrainer):
    """Batches in an order that a resumed run repeats, of similar length or mixed; stops at a loss that is lost."""

    group_by_length = True
    tokens = 0  # of prompts and completions so far, without padding
    teacher, mixture = None, {}  # of distillation: the frozen model; alpha and temperature

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Cross-entropy, or in the training of a student `distillation_loss`; validation is cross-entropy for all, so
        that runs compare.
        """
        if self.teacher is None or not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        with torch.no_grad():
            soft = self.teacher(**inputs).logits  # (B, T, V)
        outputs = model(**inputs)
        loss = distillation_loss(outputs.logits, soft, inputs["labels"], **self.mixture)
        return (loss, outputs) if return_outputs else loss

    def guessing(self) -> float:
        """The most that the loss of a model can be that guesses all tokens alike, in nats."""
        alpha, temperature = self.mixture.get("alpha", 0), self.mixture.get("temperature", 1)
        return (1 - alpha + alpha * temperature**2) * math.log(self.model.config.vocab_size)

    def _get_train_sampler(self, train_dataset=None):
        lengths = [
            (len(prompt) + len(completion)) * self.group_by_length
            for prompt, completion in zip(  # all alike: the order is random
                self.train_dataset["input_ids"], self.train_dataset["labels"]
            )
        ]
        return SimilarLengths(
            lengths, self.args.train_batch_size * self.args.gradient_accumulation_steps, self.args.seed
        )

    def training_step(self, model, inputs, num_items_in_batch=None):
        loss = super().training_step(model, inputs, num_items_in_batch)
        value = loss.item() * self.args.gradient_accumulation_steps
        limit = EXPLODED * self.guessing()
        if not value < limit:  # NaN is not below anything
            raise TrainingError(
                f"loss: {value:.1f} nats at step {self.state.global_step + 1}, where guessing gives "
                f"{limit / EXPLODED:.1f}; lower the learning rate (now {self.args.learning_rate:g}), and do not "
                "use float16"
            )
        self.tokens += int(inputs["attention_mask"].sum()) + int((inputs["labels"] >= 0).sum())
        return loss

    def _issue_warnings_after_load(self, load_result):
        """Tied weights are stored once: their other names are not missing, and no reason for a warning."""
        weights = self.model.state_dict()
        stored = {weights[name].data_ptr() for name in set(weights) - set(load_result.missing_keys)}
        load_result.missing_keys[:] = [
            name for name in load_result.missing_keys if weights[name].data_ptr() not in stored
        ]
        super()._issue_warnings_after_load(load_result)


def losses(history, name) -> list[list]:
    """[[step, loss]] of a Trainer's log history; `name` is loss or eval_loss."""
    return [[entry["step"], entry[name]] for entry in history if name in entry]


def make_trainer(adapted, tokenizer, pairs, validation, identity, work, bar, listener, teacher=None):
    """(trainer, watch) for a model that is set up already; `identity` as `helpers.training.trainer.train` makes it,
    `teacher` for distillation.
    """
    steps, device = identity["steps"], identity["device"]
    every = max(1, steps // identity["evaluations"])
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=identity["batch_size"],
        per_device_eval_batch_size=identity["batch_size"],
        gradient_accumulation_steps=identity["accumulation"],
        learning_rate=identity["method"]["learning_rate"],
        lr_scheduler_type="linear",
        warmup_steps=min(20, steps // 10),
        optim="adamw_torch_fused",
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=3,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=max(1, steps // 50),
        seed=identity["seed"],
        data_seed=identity["seed"],
        use_cpu=device == "cpu",
        bf16=identity["dtype"] == "bfloat16",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        prediction_loss_only=True,
    )
    watch = Watch(bar, listener, 0.0)
    stop = [EarlyStoppingCallback(identity["patience"])] if identity["patience"] else []
    by_length = sorted(range(len(validation)), key=lambda row: len(validation[row]["input_ids"]))
    trainer = SteadyTrainer(
        model=adapted,
        args=arguments,
        train_dataset=pairs,
        eval_dataset=validation.select(by_length),
        data_collator=Collator(tokenizer.pad_token_id),
        processing_class=tokenizer,
        callbacks=[watch, *stop],
    )
    trainer.remove_callback(PrinterCallback)
    watch.trainer, trainer.group_by_length = trainer, identity.get("group_by_length", True)
    if teacher is not None:
        trainer.teacher, trainer.mixture = teacher.eval().to(adapted.device), identity["method"]["options"]
    return trainer, watch


def is_out_of_memory(error) -> bool:
    """Whether an error says that memory ran out, on a GPU or not."""
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "not enough memory" in str(error)
        or "allocate memory" in str(error)
    )


def batch_size_advice(model, trainer, batch_size):
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
            if not is_out_of_memory(error):
                raise
            continue
        return f"batch_size={batch_size} fits: use it with a larger accumulation"
    return "not even a single pair fits: train LoRA instead of all weights, or a smaller model"


@dataclass(frozen=True)
class Run:
    """A trained model in evaluation mode, its record and folder, and whether it was loaded instead of trained just
    now.
    """

    model: object
    record: Record
    folder: Path
    loaded: bool

    def __str__(self):
        record = self.record
        how = "loaded, trained earlier" if self.loaded else "trained now"
        return (
            f"{record.name} ({how}): {record.trainable:,} of {record.total:,} parameters "
            f"({record.trainable / record.total:.2%}), "
            f"{record.seconds:.0f} s, {record.tokens_per_second:,.0f} tokens/s, validation loss "
            f"{min(loss for _, loss in record.validation_losses):.3f}"
        )


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
        accumulation: batches whose gradients are added up for one update.
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
        trainer, watch = make_trainer(adapted, tokenizer, pairs, validation, identity, work, bar, listener, teacher)
        checkpoint = _resume_point(work, trainer, watch, bar)
        try:
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
            bar.refresh()  # all its steps, however few of them were drawn
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"batch_size: {batch_size} pairs need more memory than there is; "
                f"{batch_size_advice(adapted, trainer, batch_size)}"
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
        peak_memory_bytes=memory.peak,
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
        TrainingError: the run started from another base model, or its adapter is not there as safetensors. ValueError:
            there is no readable record.
    """
    folder = Path(folder)
    record = Record.load(folder)
    if record.base != fingerprint(model):
        raise TrainingError(
            f"{folder}: was trained on another base model (weights {record.base[:10]}…) than the one given "
            f"({fingerprint(model)[:10]}…); load it with its own, or train again"
        )
    if record.method["kind"] in WHOLE:
        trained = load_seq2seq(replace(settings, model=str(folder.resolve()), model_revision=None, dtype="float32"))[1]
        if record.method["kind"] == "qat":
            trained = fake_quantized(trained, **record.method["options"])
    elif record.method["kind"] == "bottleneck":
        trained = load_bottlenecks(adapt(model, Method(**record.method)), folder)
    else:
        trained = load_adapter(folder, model)
    return Run(trained.to(settings.device).eval(), record, folder, loaded=True)


def load_adapter(folder, model):
    """The adapter of a folder on a copy of `model`, in float32 and evaluation mode.

    Raises:
        TrainingError: there is no adapter as safetensors, or it does not fit the model.
    """
    folder = Path(folder)
    if not (folder / ADAPTER).is_file():  # peft would go on to pickles, and then to the hub
        raise TrainingError(
            f"{folder}: has no {ADAPTER}; weights in another format are not read. Delete the folder to train again"
        )
    try:
        return PeftModel.from_pretrained(copy.deepcopy(model).float(), folder).eval()
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(
            f"{folder}: its adapter does not fit {type(model).__name__}, or is damaged "
            f"({str(error).splitlines()[0][:200]}); "
            "load it on the model that it was trained on"
        ) from error
