"""PPO: seconds and peak memory of a step, ours against trl 0.11.4's, the last library that trained encoder-decoder
models by PPO.

python -m benchmarks.ppo [--steps 1] [--threads 1] [--peer SCRIPT --peer-python PYTHON]

flan-t5-small's shapes with random weights, 16 prompts of about 200 tokens, 50 new tokens each (random weights hardly
ever end a completion), one pass over the batch. Once like the peer: LoRA of rank 32 on queries and values, mini-batches
of 4, stock attention; once as the kit does it: its own LoRA, which leaves the encoder as it is, and its own attention.
Scores are drawn at random. The peer is a script of its own in an environment of its own: it prints JSON with "median":
{"total_s": …} and "rss_mib": {"peak": …}; without one only ours is measured. Each way runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import torch
from tqdm import tqdm

from benchmarks._measuring import machine, peak_bytes, print_table, seconds
from helpers.alignment.policy import Policy
from helpers.alignment.ppo_trainer import PPOConfig, make_experience, update
from helpers.models.cpu import prepare_for_cpu
from helpers.models.sizes import untrained
from helpers.training.finetuning_methods import ATTENTION, lora

BATCH, PROMPT_TOKENS, NEW_TOKENS = 16, 200, 50
WAYS = {
    "like the peer": (lora(32, ATTENTION), 4),
    "as the kit does it": (None, 8),
}  # method and completions in an update
GOALS = {"like the peer": 1.8, "as the kit does it": 3.0, "memory": 0.75}


def prompts(model, generator):
    """(ids, mask) of random prompts whose lengths vary by a quarter."""
    lengths = torch.randint(PROMPT_TOKENS * 3 // 4, PROMPT_TOKENS * 5 // 4 + 1, (BATCH,), generator=generator)
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    ids = torch.randint(3, model.config.vocab_size, mask.shape, generator=generator) * mask
    ids[torch.arange(BATCH), lengths - 1] = model.config.eos_token_id
    return ids, mask.long()


def measure(way, steps):
    """Median seconds of the parts of a step, and the peak memory of this process."""
    model = untrained("google/flan-t5-small", "cpu").eval()
    (method, mini_batch), model = WAYS[way], model if way == "like the peer" else prepare_for_cpu(model)
    policy = Policy.from_supervised(model, method)
    del model
    config = PPOConfig(
        batch_size=BATCH, mini_batch_size=mini_batch, epochs=1, max_new_tokens=NEW_TOKENS, max_update_kl=None
    )
    optimizer, generator = torch.optim.Adam(policy.trained().values(), lr=1.41e-5), torch.Generator().manual_seed(0)
    found = []
    for _ in tqdm(range(steps), desc=way, unit="step"):
        ids, mask = prompts(policy.backbone, generator)
        drawing, rollout = seconds(policy.sample, ids, mask, NEW_TOKENS, generator)
        scoring, reference = seconds(policy.reference_logprobs, rollout)
        experience = make_experience(
            rollout, reference, torch.randn(BATCH, generator=generator), config, config.kl_coef
        )
        updating, _ = seconds(
            update, policy, optimizer, experience, config, [torch.randperm(BATCH, generator=generator)]
        )
        found.append((drawing, scoring, updating))
    parts = torch.tensor(found).median(0).values.tolist()
    return {
        "rollout": parts[0],
        "scoring": parts[1],
        "update": parts[2],
        "total": sum(parts),
        "peak": peak_bytes() / 2**20,
    }


def _apart(way, arguments):
    """`measure` in a process of its own, so that its peak memory is its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.ppo",
        "--way",
        way,
        "--steps",
        str(arguments.steps),
        "--threads",
        str(arguments.threads),
    ]
    return json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout.splitlines()[-1]
    )


def _peer(arguments):
    command = [
        arguments.peer_python,
        arguments.peer,
        "--config",
        "small",
        "--batch-size",
        str(BATCH),
        "--mini-batch-size",
        "4",
        "--query-tokens",
        str(PROMPT_TOKENS),
        "--new-tokens",
        str(NEW_TOKENS),
        "--steps",
        str(arguments.steps),
        "--threads",
        str(arguments.threads),
    ]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout)
    median = found["median"]
    return {
        "rollout": median["generation_s"],
        "scoring": median["scoring_forward_policy_and_ref_s"],
        "update": median["optimisation_s"],
        "total": median["total_s"],
        "peak": found["rss_mib"]["peak"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer", help="script that measures the peer")
    parser.add_argument("--peer-python", default=sys.executable, help="Python of the peer's environment")
    parser.add_argument("--way", choices=WAYS, help="only this way, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.way:
        return print(json.dumps(measure(arguments.way, arguments.steps)))
    found = {"trl 0.11.4": _peer(arguments)} if arguments.peer else {}
    found |= {way: _apart(way, arguments) for way in WAYS}
    print_table(
        [
            {
                "way": name,
                **{f"{part}, s": f"{parts[part]:.1f}" for part in ("rollout", "scoring", "update", "total")},
                "peak, MiB": f"{parts['peak']:.0f}",
            }
            for name, parts in found.items()
        ]
    )
    if arguments.peer:
        peer = found["trl 0.11.4"]
        for way in WAYS:
            ratio = peer["total"] / found[way]["total"]
            print(f"{way}: {ratio:.1f} times as fast (goal {GOALS[way]}: {'met' if ratio >= GOALS[way] else 'missed'})")
        share = found["as the kit does it"]["peak"] / peer["peak"]
        print(
            f"peak memory as the kit does it: {share:.2f} of the peer's (goal at most {GOALS['memory']}: "
            f"{'met' if share <= GOALS['memory'] else 'missed'})"
        )
    print(machine())


if __name__ == "__main__":
    main()
