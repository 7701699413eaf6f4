"""Reinforcement of a decoder by a reward that a rule computes from the text: trl's GRPO, with what a lab needs around
it.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from datasets import Dataset
from safetensors.torch import load_model, save_model
from transformers import PrinterCallback, TrainerCallback

from helpers.applications.reasoner import question
from helpers.applications.solutions import LONGEST
from helpers.applications.word_problems import Problem
from helpers.progress import Sparing, progress
from helpers.run_records import fingerprint, make_folder, resume_point, seal, write_json

# trl asks a model by an old name whether it recomputes activations.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)

BATCH, GROUP, STEPS, RATE = 128, 8, 50, 3e-4  # of a reinforcement: completions a step, of one problem, steps, rate
FIXED = {  # of every reinforcement
    "max_completion_length": LONGEST,
    "temperature": 1.0,
    "beta": 0.0,
    "adam_beta2": 0.95,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 5,
}
SAVED = {"save_strategy": "steps", "save_steps": 25, "save_total_limit": 1}  # of one that is kept
WEIGHTS, HISTORY = "model.safetensors", "history.json"  # the history is written last: then a kept run is finished
METRICS = {
    "reward": "mean reward of the completions that were drawn",
    "silent": "share of the groups whose rewards are all the same: they teach nothing",
    "tokens": "length of a completion, mean, its end token included",
    "entropy": "nats a token: how open the model still is",
}
LOGGED = ("reward", "frac_reward_zero_std", "completions/mean_length", "entropy")  # trl's names of the same


def quiet_options(model) -> dict:
    """Options of any trainer of trl's that a lab has no say in: nothing printed, nothing reported, nothing saved."""
    return {
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "bf16": False,
        "activation_checkpointing": False,
        "use_cpu": model.device.type == "cpu",
    }


class _Watch(TrainerCallback):
    """Moves a bar, and tells a listener what trl logs."""

    def __init__(self, bar, listener):
        self.bar, self.told = bar, Sparing(listener)

    def on_train_begin(self, args, state, control, **_):
        self.bar.update(state.global_step)  # where a checkpoint had left off

    def on_step_end(self, args, state, control, **_):
        self.bar.update(1)

    def on_save(self, args, state, control, **_):
        seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_log(self, args, state, control, **_):
        self.told(history_of(state.log_history))

    def on_train_end(self, args, state, control, **_):
        self.told.finish()


def history_of(log: Sequence[dict]) -> list[dict]:
    """trl's log as a list of `METRICS`, one dict a step."""
    return [{name: float(line[key]) for name, key in zip(METRICS, LOGGED)} for line in log if "reward" in line]


def watched_run(trainer, listener: Callable | None = None, last: str | None = None) -> list[dict]:
    """Runs one of trl's trainers with a bar and a listener.

    Args:
        listener: called with the history so far, as `helpers.visualization.live_metrics` takes it; last: the folder of
            a checkpoint to go on from.
    Returns:
        `METRICS` of each step.
    """
    with progress(total=trainer.args.max_steps, desc="GRPO", unit="step") as bar:
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Watch(bar, listener))
        trainer.train(resume_from_checkpoint=last)
    trainer.model.eval()
    return history_of(trainer.state.log_history)


def reinforce(
    model,
    tokenizer,
    problems: Sequence[Problem],
    reward: Callable[[str, Problem], float],
    seed: int,
    *,
    steps: int = STEPS,
    group_size: int = GROUP,
    batch_size: int = BATCH,
    rate: float = RATE,
    folder: Path | None = None,
    listener: Callable | None = None,
) -> list[dict]:
    """Trains a decoder, in place, by `trl.GRPOTrainer` with a reward that a function computes from the text.

    Args:
        model: with the weights it starts from, also where a stopped run is to go on: a run is known by them.
        reward: (completion, problem) -> a finite number.
        steps: at least 1; batch_size: completions in a step, whole groups of `group_size`.
        rate: AdamW's, constant after five steps.
        folder: keeps checkpoints there, every 25 steps, and the result. The same call then goes on from the newest
            whole one, with other draws than an uninterrupted run, or loads the result; a call with another model,
            problems, reward (by its name) or settings has a folder of its own inside. None: nothing is kept.
        listener: called with the history, as `helpers.visualization.live_metrics` takes it.
    Returns:
        `METRICS` of each step.
    Raises:
        ValueError: a group of one, batches that are not whole groups, fewer problems than a step needs, no step; a
            reward that is not a finite number. KeyboardInterrupt: on Ctrl-C; the same call goes on, with the model as
            it was before.
    Source: Shao et al. 2024, section 4.1, as trl does it by default: no KL penalty, and a loss that counts every token
        alike (Yu et al. 2025). The seed is set for Python, numpy and torch as a whole, as trl does.
    """
    from trl import GRPOConfig, GRPOTrainer  # here, because it takes seconds and only trainings need it

    settings = {"steps": steps, "group_size": group_size, "batch_size": batch_size, "rate": rate, "seed": seed}
    _check_sizes(len(problems), steps, group_size, batch_size)
    kept = folder and _own_folder(Path(folder), model, problems, reward, settings)
    if kept and (kept / HISTORY).is_file():
        load_model(model, kept / WEIGHTS)
        return json.loads((kept / HISTORY).read_text(encoding="utf-8"))
    rows = Dataset.from_dict({"prompt": [question(each) for each in problems], "number": list(range(len(problems)))})
    last = kept and resume_point(kept)
    cached = model.config.use_cache
    with tempfile.TemporaryDirectory() as scratch:  # trl wants a folder, whether it writes or not
        options = GRPOConfig(
            str(kept or scratch),
            max_steps=steps,
            num_generations=group_size,
            per_device_train_batch_size=batch_size,
            learning_rate=rate,
            seed=seed,
            **FIXED | quiet_options(model) | (SAVED if kept else {}),
        )
        trainer = GRPOTrainer(model, _finite(reward, problems), options, rows, processing_class=tokenizer)
        history = watched_run(trainer, listener, last and str(last))
    model.config.use_cache = cached  # trl switches it off
    if kept:
        save_model(model, kept / WEIGHTS)
        write_json(kept / HISTORY, history)
    return history


def _check_sizes(problems, steps, group_size, batch_size):
    """What `reinforce` says of numbers that do not fit together."""
    if steps < 1:
        raise ValueError(f"steps: {steps}; give at least 1")
    if group_size < 2 or batch_size < group_size or batch_size % group_size:
        raise ValueError(
            f"group_size: {group_size} with a batch_size of {batch_size}; a group needs two completions at least, and "
            "a batch holds whole groups"
        )
    if problems * group_size < batch_size:
        raise ValueError(
            f"problems: {problems} of them; a step of {batch_size} completions in groups of {group_size} needs "
            f"{batch_size // group_size} different ones"
        )


def _finite(reward, problems):
    """A reward of a text and its problem as trl calls one, on lists; a number that is not finite is an error."""

    def rewards(completions, number, **_):
        found = [float(reward(text, problems[place])) for text, place in zip(completions, number)]
        for value, text in zip(found, completions):
            if not math.isfinite(value):
                raise ValueError(f"reward: {value} for {text!r}; give a finite number")
        return found

    return rewards


def _own_folder(folder, model, problems, reward, settings):
    """A folder for this run alone, named by all that decides its result."""
    told = json.dumps([fingerprint(model), [each.text for each in problems], reward.__qualname__, settings])
    own = folder / f"{reward.__name__.strip('<>')}-{hashlib.sha256(told.encode()).hexdigest()[:10]}"
    return make_folder(own)
