"""A tiny model with data of its own in a folder, for tests that load both by settings."""

import json

from helpers.settings import load_settings


def tiny_settings(folder, model, tokenizer, splits, **overrides):
    """Settings of the pocket profile with this model and these rows; splits: name -> rows."""
    for part in (model, tokenizer):
        part.save_pretrained(folder / "model")
    (folder / "data").mkdir()
    for split, rows in splits.items():
        (folder / "data" / f"{split}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
        )
    return load_settings(
        "pocket",
        model=str(folder / "model"),
        data=str(folder / "data"),
        max_prompt_tokens=128,
        batch_size=2,
        max_new_tokens=60,
        **overrides,
    )
