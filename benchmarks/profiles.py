"""Profiles: seconds and memory of what labs 1 to 3 do under `small` and `base` on a processor, at FLAN-T5's shapes with
untrained weights.

python -m benchmarks.profiles [--names small base] [--works completions …] [--repeats 3] [--threads N]

Measured, each work in a process of its own: a batch of 16 completions; a training step of the profile's batch size, of
all weights and of the kit's LoRA; a step of PPO with 16 completions and two passes over them. Prompts have 230 tokens
and completions 40, drawn at random, and so are the rewards: about a dialogue of DialogSum with its instruction, and its
summary. The number format is the one that the settings choose on this processor. Seconds are the median of the repeats,
after one that does not count; the peak is the process's, with Python, torch and the model in it.

Computed, and printed as such: the minutes of a lab, these seconds times how often the lab does each work in full size
(`WORK`). That leaves out the data, the classifier's reading, the figures, and what other lengths change.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from functools import partial

import torch
from transformers import GenerationConfig

from benchmarks._measuring import machine, peak_bytes, print_table, seconds
from helpers.alignment.policy import Policy
from helpers.alignment.ppo_trainer import PPOConfig, make_experience, update
from helpers.models.cpu import prepare_for_cpu
from helpers.models.generation import decode
from helpers.models.sizes import untrained
from helpers.settings import PROFILES, load_settings
from helpers.training.finetuning_methods import adapt, full, lora

ROWS, PROMPT_TOKENS, NEW_TOKENS = 16, 230, 40
NAMES = ("small", "base")
# How often a lab does each work in full size under `small`, counted from its cells: completions, and steps. Lab 3 loads
# the fine-tuned model of lab 2; without it, lab 2's 500 steps come on top.
WORK = {
    "lab 1": {"completions": 1690, "full step": 0, "LoRA step": 0, "PPO completions": 0},
    "lab 2": {"completions": 600, "full step": 520, "LoRA step": 666, "PPO completions": 0},
    "lab 3": {"completions": 600, "full step": 0, "LoRA step": 0, "PPO completions": 50 * 128 + 64},
}


def random_batch(rows, generator, labels=False):
    """Token ids of `rows` prompts, all of the same length, and of their completions."""
    batch = {"input_ids": torch.randint(3, 32_000, (rows, PROMPT_TOKENS), generator=generator)}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    return batch | ({"labels": torch.randint(3, 32_000, (rows, NEW_TOKENS), generator=generator)} if labels else {})


def completions(model, settings, generator):
    """A call that writes `ROWS` completions of exactly `NEW_TOKENS` tokens."""
    batch = random_batch(ROWS, generator)
    config = GenerationConfig(
        max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0
    )
    return partial(torch.no_grad()(decode), model.eval(), batch["input_ids"], batch["attention_mask"], config)


def training_step(method, model, settings, generator):
    """A call that does one step of AdamW on a batch of the profile's size."""
    model = adapt(model, method).train()
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-5)

    def step():
        model(**random_batch(settings.batch_size, generator, labels=True)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def ppo_step(model, settings, generator):
    """A call that draws `ROWS` completions, and updates the policy with them."""
    policy = Policy.from_supervised(model.eval())
    config = PPOConfig(batch_size=ROWS, mini_batch_size=ROWS // 2, max_new_tokens=NEW_TOKENS, max_update_kl=None)
    optimizer = torch.optim.Adam(policy.trained().values(), lr=1e-5)

    def step():
        batch = random_batch(ROWS, generator)
        rollout = policy.sample(batch["input_ids"], batch["attention_mask"], NEW_TOKENS, generator)
        scores = torch.randn(ROWS, generator=generator)
        experience = make_experience(rollout, policy.reference_logprobs(rollout), scores, config, config.kl_coef)
        orders = [torch.randperm(ROWS, generator=generator) for _ in range(config.epochs)]
        update(policy, optimizer, experience, config, orders)

    return step


WORKS = {
    "completions": completions,
    "full step": partial(training_step, full()),
    "LoRA step": partial(training_step, lora()),
    "PPO completions": ppo_step,
}


def measure(name, work, repeats):
    """Median seconds of one work, and the peak memory of this process."""
    settings, generator = load_settings(name, device="cpu"), torch.Generator().manual_seed(0)
    model = untrained(settings.model, "cpu").to(getattr(torch, settings.dtype))
    call = WORKS[work](prepare_for_cpu(model), settings, generator)
    call()
    spent = [seconds(call)[0] for _ in range(repeats)]
    return {
        "seconds": statistics.median(spent),
        "slowest": max(spent),
        "peak": peak_bytes(),
        "dtype": settings.dtype,
        "rows": settings.batch_size if work.endswith("step") else ROWS,
    }


def _apart(name, work, arguments):
    """`measure` in a process of its own, so that its peak memory is its own."""
    options = {"names": name, "works": work, "repeats": arguments.repeats, "threads": arguments.threads}
    command = [sys.executable, "-m", "benchmarks.profiles", "--alone"]
    command += [word for option, value in options.items() for word in (f"--{option}", str(value))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    return json.loads(done.stdout.splitlines()[-1])


def hours(lab, found):
    """A lab's works times their seconds, in hours; completions count by the batch of `ROWS`."""
    rows = {work: ROWS if work.endswith("completions") else 1 for work in WORKS}
    return sum(times / rows[work] * found[work]["seconds"] for work, times in WORK[lab].items()) / 3600


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="+", choices=NAMES, default=list(NAMES), help="profiles")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--alone", action="store_true", help="one work of one profile, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.alone:
        return print(json.dumps(measure(arguments.names[0], arguments.works[0], arguments.repeats)))
    for name in arguments.names:
        found = {work: _apart(name, work, arguments) for work in arguments.works}
        print(f"\n{name}: {PROFILES[name]['model']}'s shapes, {found[arguments.works[0]]['dtype']}; measured")
        rows = [
            {
                "work": work,
                "rows": each["rows"],
                "seconds, median": f"{each['seconds']:.1f}",
                "seconds, slowest": f"{each['slowest']:.1f}",
                "peak, GB": f"{each['peak'] / 1e9:.1f}",
            }
            for work, each in found.items()
        ]
        print_table(rows, width=18)
        if set(arguments.works) == set(WORKS) and name == "small":
            print("computed from these: " + ", ".join(f"{lab} {60 * hours(lab, found):.0f} minutes" for lab in WORK))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
