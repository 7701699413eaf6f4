"""Training: real tokens per second and memory, ours against the way of course labs. Same model, same pairs, same
losses.

python -m benchmarks.training [--pairs 64] [--data FOLDER] [--tokenizer FOLDER] [--threads N] [--batch-size 8]
[--base-batch-size 4]

Course labs pad every prompt and every label to 512 tokens; a second way pads the prompts alone. Ours pads to the
longest of a batch of similar lengths and attends at each row's own length (`helpers.data.pairs`, `helpers.models.cpu`).
All take one step of AdamW a batch, in float32, on untrained weights of flan-t5-small's shapes. Real tokens are those of
prompts and completions without padding. Useful work is counted as 6 operations for each weight of a matrix and each
real token that it multiplies (2 forwards, 4 backwards), attention's own products left out; the share is that work per
second over the rate of a square float32 matrix product measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial

import torch
from transformers import AutoTokenizer

from benchmarks._measuring import machine, matrix_rate, peak_bytes, print_table, seconds, useful_work
from helpers.data.loading import load_dialogues
from helpers.data.pairs import IGNORED, Collator, SimilarLengths, encode_pairs, summary_pairs
from helpers.models.cpu import prepare_for_cpu
from helpers.models.sizes import untrained
from helpers.progress import progress
from helpers.settings import POCKET, load_settings
from helpers.training.finetuning_methods import ATTENTION, adapt, full, lora
from helpers.training.trainer import train

GOALS = {"speed": 3.0, "memory": 0.05, "base, GiB": 8.0}
PADDED = 512


def course_batches(pairs, batch_size, pad_token_id, labels_too=True):
    """In the order of the file, every prompt padded to 512 tokens, every label too or to the longest; padding
    masked.
    """
    for start in range(0, len(pairs), batch_size):
        batch = Collator(pad_token_id)([pairs[row] for row in range(start, min(start + batch_size, len(pairs)))])
        for name, value in (("input_ids", pad_token_id), ("attention_mask", 0)):
            batch[name] = torch.nn.functional.pad(batch[name], (0, PADDED - batch[name].shape[1]), value=value)
        if labels_too:
            batch["labels"] = torch.nn.functional.pad(
                batch["labels"], (0, PADDED - batch["labels"].shape[1]), value=IGNORED
            )
        yield batch


def our_batches(pairs, batch_size, pad_token_id):
    """As `helpers.training.trainer.train` makes them."""
    lengths = [len(prompt) + len(label) for prompt, label in zip(pairs["input_ids"], pairs["labels"])]
    order = list(SimilarLengths(lengths, batch_size, seed=0))
    for start in range(0, len(order), batch_size):
        yield Collator(pad_token_id)([pairs[row] for row in order[start : start + batch_size]])


def train_once(model, batches):
    """One step of AdamW a batch."""
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)
    for batch in batches:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@torch.no_grad()
def losses(model, batches):
    """Loss of each example, the mean over its tokens: a list sorted by size, as the ways have different orders."""
    found = []
    for batch in batches:
        logits = model(**batch).logits
        each = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), batch["labels"], ignore_index=IGNORED, reduction="none"
        )
        found += (each.sum(1) / (batch["labels"] != IGNORED).sum(1)).tolist()
    return sorted(found)


def speed(pairs, tokenizer, batch_size):
    """All ways one after the other, as rows of the table."""
    prompt_tokens, new_tokens = (sum(map(len, pairs[name])) for name in ("input_ids", "labels"))
    stock, ours = (
        untrained("google/flan-t5-small", "cpu").eval(),
        prepare_for_cpu(untrained("google/flan-t5-small", "cpu").eval()),
    )
    ways = {
        "course labs": (stock, course_batches),
        "prompts padded to 512": (stock, partial(course_batches, labels_too=False)),
        "ours": (ours, our_batches),
    }
    work, rate, rows = useful_work(stock, prompt_tokens, new_tokens, operations=6), matrix_rate(), []
    found = {
        name: losses(model, make(pairs, batch_size, tokenizer.pad_token_id)) for name, (model, make) in ways.items()
    }  # before any training
    for name, (model, make) in ways.items():
        batches = list(make(pairs, batch_size, tokenizer.pad_token_id))
        train_once(model, batches[:2])
        spent, _ = seconds(train_once, model, progress(batches, desc=name, unit="batch"))
        rows.append(
            {
                "way": name,
                "seconds": f"{spent:.1f}",
                "real tokens/s": round((prompt_tokens + new_tokens) / spent),
                "positions computed": sum(batch["input_ids"].numel() for batch in batches),
                "share of matrix rate": f"{work / spent / rate:.0%}",
            }
        )
    ratios = {row["way"]: row["real tokens/s"] / rows[0]["real tokens/s"] for row in rows}
    worst = max(abs(a - b) for name in ways for a, b in zip(found[name], found["course labs"]))
    print_table(rows)
    print(
        ", ".join(f"{name} {ratio:.1f}" for name, ratio in ratios.items())
        + f" times as fast as course labs (goal {GOALS['speed']:.0f}: "
        f"{'met' if ratios['ours'] >= GOALS['speed'] else 'missed'}); largest difference of an example's loss: "
        f"{worst:.1e}; matrix rate {rate / 1e9:.0f} Gflop/s"
    )
    if not worst < 1e-3:
        raise AssertionError(f"the ways give different losses, up to {worst:.1e} apart")


def memory(pairs, tokenizer):
    """Gradients and optimiser of two steps, LoRA against full fine-tuning, as `train` records them."""
    settings = load_settings("pocket", batch_size=2, train_steps=2, dtype="float32")
    model, records = prepare_for_cpu(untrained("google/flan-t5-small", "cpu").eval()), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, method in (("full", full()), ("lora", lora())):
            records[name] = train(
                model,
                tokenizer,
                pairs.select(range(4)),
                pairs.select(range(2)),
                method,
                settings,
                folder,
                evaluations=1,
                show_progress=False,
            ).record
    extra = {name: record.gradient_bytes + record.optimizer_bytes for name, record in records.items()}
    share = extra["lora"] / extra["full"]
    print(
        f"gradients and optimiser: full {extra['full'] / 2**20:.0f} MiB, LoRA {extra['lora'] / 2**20:.1f} MiB, "
        f"{share:.1%} "
        f"(goal at most {GOALS['memory']:.0%}: {'met' if share <= GOALS['memory'] else 'missed'})"
    )


def peak_of_base(pairs, batch_size):
    """Trains LoRA at flan-t5-base's shapes for three steps on the longest pairs and prints the process's peak memory;
    runs in a process of its own.
    """
    model = prepare_for_cpu(adapt(untrained("google/flan-t5-base", "cpu"), lora(32, ATTENTION)))
    longest = sorted(range(len(pairs)), key=lambda row: -len(pairs[row]["input_ids"]))[:batch_size]
    train_once(model, [Collator(0)([pairs[row] for row in longest])] * 3)
    print(json.dumps(peak_bytes()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--base-batch-size", type=int, default=4, help="pairs in a batch at flan-t5-base's shapes")
    parser.add_argument(
        "--data", default=str(POCKET / "data"), help="a file or folder of dialogues, such as DialogSum's"
    )
    parser.add_argument("--tokenizer", default=str(POCKET / "model"), help="folder of a T5 tokenizer")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--only-base", action="store_true", help="only the peak memory of LoRA at flan-t5-base's shapes"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer, local_files_only=True)
    splits = load_dialogues(load_settings("pocket", data=arguments.data))
    rows = [row for split in splits.values() for row in split][: arguments.pairs]
    prompts, completions = summary_pairs(rows)
    fits = [index for index, prompt in enumerate(prompts) if len(tokenizer(prompt)["input_ids"]) <= PADDED]
    pairs = encode_pairs(
        [prompts[index] for index in fits], [completions[index] for index in fits], tokenizer, PADDED, PADDED
    )
    if arguments.only_base:
        return peak_of_base(pairs, arguments.base_batch_size)
    print(f"{len(pairs)} of {len(rows)} pairs fit into {PADDED} tokens; batches of {arguments.batch_size}")
    speed(pairs, tokenizer, arguments.batch_size)
    memory(pairs, tokenizer)
    command = [
        sys.executable,
        "-m",
        "benchmarks.training",
        "--only-base",
        *(f"--{name.replace('_', '-')}={value}" for name, value in vars(arguments).items() if name != "only_base"),
    ]
    peak = (
        int(
            subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout.splitlines()[
                -1
            ]
        )
        / 2**30
    )
    print(
        f"LoRA at flan-t5-base's shapes, float32, {arguments.base_batch_size} of the longest pairs: {peak:.1f} "
        "GiB at the most "
        f"(goal {GOALS['base, GiB']:.0f}: {'met' if peak <= GOALS['base, GiB'] else 'missed'})"
    )
    print(machine())


if __name__ == "__main__":
    main()
