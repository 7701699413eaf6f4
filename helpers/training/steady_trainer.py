"""The training loop: transformers' Seq2SeqTrainer with steady batches, sealed checkpoints and measurements.

Its errors say what to change.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerState,
)
from transformers.trainer import TRAINER_STATE_NAME

from helpers.compression.distillation import distillation_loss
from helpers.data.pairs import IGNORED, Collator, SimilarLengths
from helpers.progress import Sparing
from helpers.run_records import TrainingError, fault, seal

EXPLODED = 3  # times the loss of a model that guesses all tokens alike


class Watch(TrainerCallback):
    """Seals checkpoints, measures, moves the progress bar and tells a listener about the losses."""

    def __init__(self, bar, listener, before, memory):
        self.bar, self.listener, self.memory = bar, Sparing(listener), memory
        self.before, self.start = before, time.perf_counter()
        self.optimizer_bytes = self.gradient_bytes = self.peak_memory_bytes = 0

    def seconds(self):
        return self.before + time.perf_counter() - self.start

    def peak(self):
        """In bytes: the most up to now, before a stop too."""
        return max(self.peak_memory_bytes, self.memory.so_far())

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

    def tell_all(self):
        """All losses of a run that had ended before, told to the listener."""
        history = self.trainer.state.log_history
        self.listener(losses(history, "loss"), losses(history, "eval_loss"))
        self.listener.finish()

    def on_save(self, args, state, control, **_):
        seal(
            Path(args.output_dir) / f"checkpoint-{state.global_step}",
            seconds=self.seconds(),
            tokens=self.trainer.tokens,
            optimizer_bytes=self.optimizer_bytes,
            gradient_bytes=self.gradient_bytes,
            peak_memory_bytes=self.peak(),
        )


class SteadyTrainer(Seq2SeqTrainer):
    """Batches in an order that a resumed run repeats, of similar length or mixed; stops at a loss that is lost.

    Accumulation: the loss of an update is the mean over the labels of all its batches, without padding, as if they were
    one large batch. Losses and gradients are those of that batch up to rounding; dropout draws other numbers for it.
    """

    loss_is_scaled_for_ga = True  # tells transformers not to divide by accumulation: `compute_loss` weighs each batch
    group_by_length = True
    tokens = 0  # of prompts and completions so far, without padding
    teacher, mixture = None, {}  # of distillation: the frozen model; alpha and temperature

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Cross-entropy, or in the training of a student `distillation_loss`; validation is cross-entropy for all, so
        that runs compare.

        The model is not told of `num_items_in_batch`: some divide by it, T5 and BART do not. Their loss is the mean
        over a batch, and in training it counts by the batch's share of the labels of its update.
        """
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs)
        if self.teacher is None:
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        else:
            with torch.no_grad():
                soft = self.teacher(**inputs).logits  # (B, T, V)
            outputs = model(**inputs)
            loss = distillation_loss(outputs.logits, soft, inputs["labels"], **self.mixture)
        loss = loss * (count_labels(inputs) / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """(the batches of one update, how many labels they have together)."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, sum(map(count_labels, batches))

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

    def training_step(self, model, inputs, num_items_in_batch):
        loss = super().training_step(model, inputs, num_items_in_batch)
        labels = count_labels(inputs)
        value = loss.item() * num_items_in_batch / labels  # the mean of this batch alone
        limit = EXPLODED * self.guessing()
        if not value < limit:  # NaN is not below anything
            raise TrainingError(
                f"loss: {value:.1f} nats at step {self.state.global_step + 1}, where guessing gives "
                f"{limit / EXPLODED:.1f}; lower the learning rate (now {self.args.learning_rate:g}), and do not "
                "use float16"
            )
        self.tokens += int(inputs["attention_mask"].sum()) + labels
        return loss

    def finished_at(self, checkpoint: Path) -> bool:
        """Whether a checkpoint is the end of its run: its last step, or the one at which validation ended it.

        If so, its state and the best weights are loaded: `train` would make one more step.
        """
        state = TrainerState.load_from_json(checkpoint / TRAINER_STATE_NAME)
        if not state.stateful_callbacks["TrainerControl"]["args"]["should_training_stop"]:
            return False
        best = Path(state.best_model_checkpoint or checkpoint).name
        state.best_model_checkpoint = str(checkpoint.parent / best)  # wherever the run's folder lies by now
        self.state = state
        self._load_best_model()
        return True

    def _issue_warnings_after_load(self, load_result):
        """Tied weights are stored once: their other names are not missing, and no reason for a warning."""
        weights = self.model.state_dict()
        stored = {weights[name].data_ptr() for name in set(weights) - set(load_result.missing_keys)}
        load_result.missing_keys[:] = [
            name for name in load_result.missing_keys if weights[name].data_ptr() not in stored
        ]
        super()._issue_warnings_after_load(load_result)


def resume_fault(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or with the one that has the run's best weights so far; None if both are whole.

    A run that went on without its best weights would keep others, and not say so.
    """
    wrong = fault(checkpoint)
    if wrong is None and (step := TrainerState.load_from_json(checkpoint / TRAINER_STATE_NAME).best_global_step):
        best = checkpoint.with_name(f"checkpoint-{step}")
        wrong = fault(best)
        return wrong and f"it needs the best weights, in {best.name}, which is not whole ({wrong})"
    return wrong


def count_labels(batch) -> int:
    """How many labels of a batch count: all but those on padding."""
    return int((batch["labels"] != IGNORED).sum())


def losses(history, name) -> list[list]:
    """[[step, loss]] of a Trainer's log history; `name` is loss or eval_loss."""
    return [[entry["step"], entry[name]] for entry in history if name in entry]


def make_trainer(adapted, tokenizer, pairs, validation, identity, work, bar, listener, memory, teacher=None):
    """(trainer, watch) for a model that is set up already; `identity` as `helpers.training.trainer.train` makes it,
    `memory` a `helpers.hardware.PeakMemory` that is at work, `teacher` for distillation.
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
        restore_callback_states_from_checkpoint=True,  # the evaluations that the patience has counted
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
    watch = Watch(bar, listener, 0.0, memory)
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
    """Whether an error says that memory ran out: on the processor, CUDA or MPS."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "not enough memory", "allocate memory")
    )


def batch_size_advice(model, trainer, batch_size, accumulation=1):
    """A sentence: the largest half, quarter … of the batch size whose longest pairs go through, and the accumulation
    that makes its updates as large as they were.

    Args:
        batch_size: pairs that were too many; accumulation: batches in an update of that run.
    Two batches go through, forwards and backwards: the second finds the gradients of the first in memory.
    """
    pairs = batch_size * accumulation
    lengths = [len(prompt) for prompt in trainer.train_dataset["input_ids"]]
    longest = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while batch_size > 1:
        batch_size //= 2
        batch = trainer.data_collator([trainer.train_dataset[row] for row in longest[:batch_size]])
        try:
            model.zero_grad(set_to_none=True)
            for _ in range(2):
                model(**{key: value.to(model.device) for key, value in batch.items()}).loss.backward()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            continue
        batches = math.ceil(pairs / batch_size)
        return (
            f"batch_size={batch_size} fits: use it with accumulation={batches}, an update of {batches * batch_size} "
            f"pairs (now {pairs})"
        )
    return "not even a single pair fits: train LoRA instead of all weights, or a smaller model"
