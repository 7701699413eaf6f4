"""Tokens per second: `generate` against the loop of course labs, which takes one prompt at a time. Same weights, same
outputs.

python -m benchmarks.generation [--rounds 3] [--prompts 64] [--new-tokens 50] [--threads N] [--tokenizer FOLDER]

Each way has the model as it loads it: course labs as it comes, the kit prepared for the processor
(`helpers.models.cpu`). The two ways alternate; the ratio is the median over the rounds. Useful work is counted as 2
operations for each weight of a matrix and each token that it multiplies: the encoder's weights and the decoder's keys
and values of the prompt meet the prompt's tokens, the decoder's other weights and the output head the generated ones,
end token included. Padding, the rounds of completions that are already finished and the attention's own products are
not counted. The share is that work per second over the rate of a square float32 matrix product measured in the same
run.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from benchmarks._measuring import machine, matrix_rate, print_table, seconds, useful_work
from helpers.data.prompts import build_prompt
from helpers.models.cpu import prepare_for_cpu
from helpers.models.generation import generate, generate_ids
from helpers.models.sizes import untrained
from helpers.settings import PROFILES

ROOT = Path(__file__).resolve().parent.parent
BATCH_SIZE = PROFILES["pocket"]["generation_batch_size"]
GOALS = {"pocket": 6.0, "flan-t5-small's shapes": 3.0}


def one_at_a_time(model, tokenizer, prompts, new_tokens):
    """The loop of course labs: no batch, no padding, the model's own settings."""
    completions = []
    for prompt in prompts:
        inputs = tokenizer(prompt, return_tensors="pt")
        output = model.generate(inputs["input_ids"], max_new_tokens=new_tokens)[0]
        completions.append(tokenizer.decode(output, skip_special_tokens=True).strip())
    return completions


def batched(model, tokenizer, prompts, new_tokens):
    """The kit's way, with the batch size of the profile `pocket`."""
    return generate(model, tokenizer, prompts, max_new_tokens=new_tokens, batch_size=BATCH_SIZE, show_progress=False)


def dialogues(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["dialogue"] for line in lines]


def worlds(arguments):
    """(name, tokenizer, model, prompts) of what can be measured here; what cannot is said."""
    model_folder, test = ROOT / "pocket" / "model", ROOT / "pocket" / "data" / "test.jsonl"
    if model_folder.is_dir() and test.is_file():
        tokenizer = AutoTokenizer.from_pretrained(model_folder, local_files_only=True)
        model = AutoModelForSeq2SeqLM.from_pretrained(model_folder, local_files_only=True).eval()
        yield "pocket", tokenizer, model, [build_prompt(text) for text in dialogues(test)[: arguments.prompts]]
    else:
        print("pocket: skipped, pocket/model or pocket/data is not built (python -m pocket.build)")
    if arguments.tokenizer and arguments.tokenizer.is_dir():
        tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer, local_files_only=True)
        model = untrained("google/flan-t5-small", "cpu").eval()
        texts = dialogues(ROOT / "pocket" / "scenarios" / "wild.jsonl")[: max(1, arguments.prompts // 2)]
        yield "flan-t5-small's shapes", tokenizer, model, [build_prompt(text) for text in texts]
    else:
        print("flan-t5-small's shapes: skipped; give the folder of a T5 tokenizer with --tokenizer")


def measure(name, tokenizer, model, prompts, arguments):
    """One row of the table: a dict of what was measured."""
    ways, times = (one_at_a_time, batched), {one_at_a_time: [], batched: []}
    models = {
        one_at_a_time: model,
        batched: prepare_for_cpu(copy.deepcopy(model)),
    }  # the same weights, as each way loads them
    for way in ways:
        way(models[way], tokenizer, prompts[:4], arguments.new_tokens)
    for turn in range(arguments.rounds):
        completions = {}
        for way in ways if turn % 2 == 0 else ways[::-1]:
            spent, completions[way] = seconds(way, models[way], tokenizer, prompts, arguments.new_tokens)
            times[way].append(spent)
        if completions[one_at_a_time] != completions[batched]:
            raise AssertionError(f"{name}: the two ways differ in their outputs")
    ids = generate_ids(model, tokenizer, prompts, max_new_tokens=arguments.new_tokens, show_progress=False)
    new_tokens = sum(min(len(row) + 1, arguments.new_tokens) for row in ids)  # the end token costs a step too
    prompt_tokens = sum(len(row) for row in tokenizer(prompts)["input_ids"])
    work, rate = useful_work(model, prompt_tokens, new_tokens, operations=2), matrix_rate()
    middle = {way: statistics.median(spent) for way, spent in times.items()}
    ratio = statistics.median(slow / fast for slow, fast in zip(times[one_at_a_time], times[batched]))
    return {
        "model": name,
        "prompts": len(prompts),
        "prompt tokens": round(prompt_tokens / len(prompts)),
        "new tokens": round(new_tokens / len(prompts)),
        "one at a time, tokens/s": round(new_tokens / middle[one_at_a_time]),
        "generate, tokens/s": round(new_tokens / middle[batched]),
        "ratio": f"{ratio:.1f}",
        "goal": f"{GOALS[name]:.0f} {'met' if ratio >= GOALS[name] else 'missed'}",
        "matrix rate, Gflop/s": round(rate / 1e9),
        "share, one at a time": f"{work / middle[one_at_a_time] / rate:.0%}",
        "share, generate": f"{work / middle[batched] / rate:.0%}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=64, help="on pocket; half of them at the larger shapes")
    parser.add_argument("--new-tokens", type=int, default=50)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="folder of a T5 tokenizer for the untrained model; without it only pocket is measured",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()  # the loop of course labs draws advice about its missing attention mask
    rows = [measure(*world, arguments) for world in worlds(arguments)]
    if rows:
        print_table(rows)
        print(f"{machine()}, float32, outputs equal, medians of {arguments.rounds} rounds")


if __name__ == "__main__":
    main()
