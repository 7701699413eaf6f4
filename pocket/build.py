"""Makes the offline world again from one seed: `python -m pocket.build` (data, tokenizer, model, reward model, cards,
checksums).

`--smoke` goes the whole way in under a minute with a tiny model, into a temporary folder. An interrupted run resumes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

from pocket.cards import data_card, measure_reward, model_card, reward_card
from pocket.lexicon import SAMPLE, lexicon
from pocket.mixture import MAIN
from pocket.pretrain import Pretraining, Recipe, batches, encode
from pocket.report import measure
from pocket.reward import RewardRecipe, train_reward
from pocket.splits import Corpus, make_splits, make_tasks, slot_values, wild_rows
from pocket.tokenizer import build_tokenizer, whole_words

HOME = Path(__file__).parent
SEED = 20
SMOKE_SCALE = 0.03
TOKENIZER_TEXTS = 10
WINDOW = 1024


def tokenizer_texts(corpus, words, recipe, count=TOKENIZER_TEXTS):
    """What the pieces are counted on: every word of the lexicon, and so many prompts for what stands between words."""
    examples = corpus.mixture.sample(count, (recipe.seed, "tokenizer"), MAIN)
    return words + [f"{example.prompt}\n{example.target}" for example in examples]


def make_probes(corpus, tokenizer, recipe, count=32):
    """Fixed examples with held-out values: losses by number of shots and on questions are followed while training."""
    rng = random.Random(f"probes|{recipe.seed}")
    examples = {f"{shots}-shot": [corpus.mixture.probe(rng, shots) for _ in range(count)] for shots in (0, 1, 3)}
    examples["question"] = [corpus.mixture.probe_question(rng) for _ in range(count)]
    return {name: batches(encode(found, tokenizer), recipe.tokens_per_batch, rng) for name, found in examples.items()}


def write_lines(path, rows):
    """JSON Lines, complete or not there at all: an interruption leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="\n"
    )
    partial.replace(path)


def build_data(corpus, out, scale):
    """The splits, the wild dialogues, the tasks, words and values of the world; returns {split: rows}."""
    splits = make_splits(corpus, SEED, scale)
    rows = {split: [row for row, _ in found] for split, found in splits.items()} | {"wild": wild_rows()}
    for split, found in rows.items():
        write_lines(out / "data" / f"{split}.jsonl", found)
    write_lines(out / "tasks.jsonl", make_tasks(splits, SEED))
    flat = [row for found in rows.values() for row in found]
    world = {"words": lexicon(corpus, flat, max(100, round(SAMPLE * scale)))} | slot_values(corpus)
    (out / "world.json").write_text(
        json.dumps(world, ensure_ascii=False, indent=0) + "\n", encoding="utf-8", newline="\n"
    )
    return rows


def build_model(corpus, recipe, out, work, scale=1.0):
    """Tokenizer and pre-trained weights; returns the run, whose log goes into the card."""
    words = corpus.mixture.words = json.loads((out / "world.json").read_text(encoding="utf-8"))["words"]
    tokenizer = build_tokenizer(tokenizer_texts(corpus, words, recipe), recipe.pieces, WINDOW, words)
    run = Pretraining(recipe, corpus.mixture, tokenizer, make_probes(corpus, tokenizer, recipe), work)
    model = run.run()
    model.save_pretrained(out / "model", safe_serialization=True)
    tokenizer.save_pretrained(out / "model")
    return run


def build_reward(corpus, recipe, out):
    """The classifier of toxicity, with the tokenizer of the model, and its card."""
    tokenizer = AutoTokenizer.from_pretrained(out / "model", local_files_only=True)
    tokenizer.model_max_length = 256
    model = train_reward(recipe, corpus, tokenizer)
    model.save_pretrained(out / "reward", safe_serialization=True)
    tokenizer.save_pretrained(out / "reward")
    measured = measure_reward(model, tokenizer, corpus, recipe)
    (out / "reward" / "results.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8", newline="\n")
    (out / "reward" / "README.md").write_text(reward_card(recipe, model, measured), encoding="utf-8", newline="\n")


def checksums(out):
    """Relative path -> SHA-256 of everything built, the list itself left out."""
    files = sorted(
        path for folder in ("data", "model", "reward") for path in (out / folder).rglob("*") if path.is_file()
    )
    files += [out / "tasks.jsonl", out / "world.json"]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def build(out, work, recipe, reward_recipe, scale=1.0, only=None):
    """Everything, or one part (`only`: data, model, reward, cards), into `out`; checkpoints of the training go to
    `work`.
    """
    corpus = Corpus()
    if only in (None, "data"):
        rows = build_data(corpus, out, scale)
        (out / "data" / "README.md").write_text(data_card(rows, corpus), encoding="utf-8", newline="\n")
    if only in (None, "model"):
        build_model(corpus, recipe, out, work, scale)
    if only in (None, "reward"):
        build_reward(corpus, reward_recipe, out)
    if only in (None, "cards"):
        log = json.loads((work / "log.json").read_text(encoding="utf-8"))
        measured = measure(out, work / "report", most=None if scale == 1.0 else 4)
        tokenizer = AutoTokenizer.from_pretrained(out / "model", local_files_only=True)
        card = model_card(recipe, log, measured, (len(whole_words(tokenizer)), len(tokenizer)))
        (out / "model" / "README.md").write_text(card, encoding="utf-8", newline="\n")
        (out / "model" / "results.json").write_text(
            json.dumps(measured, indent=1) + "\n", encoding="utf-8", newline="\n"
        )
    (out / "checksums.json").write_text(json.dumps(checksums(out), indent=1) + "\n", encoding="utf-8", newline="\n")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="the whole way in under a minute, into a temporary folder")
    parser.add_argument("--only", choices=("data", "model", "reward", "cards"), help="one part alone")
    parser.add_argument(
        "--out", type=Path, default=HOME, help="where the results go (default: the shipped ones are replaced)"
    )
    parser.add_argument(
        "--work", type=Path, default=HOME.parent / "build" / "pretraining", help="checkpoints; kept to resume from"
    )
    chosen = parser.parse_args(arguments)
    if not chosen.smoke:
        return build(chosen.out, chosen.work, Recipe(seed=SEED), RewardRecipe(seed=SEED), only=chosen.only)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), Path(folder) / "work", Recipe.smoke(), RewardRecipe.smoke(SEED), SMOKE_SCALE)
        print(f"smoke build: {len(checksums(Path(folder)))} files made")


if __name__ == "__main__":
    main()
