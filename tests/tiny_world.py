"""A tiny model with data of its own in a folder, for tests that load both by settings."""

import json

from transformers import T5Config, T5ForConditionalGeneration

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


def tiny_t5(tokenizer, d_kv, blocks):
    """An untrained T5 of width 32 with two heads of this width and so many blocks on each side."""
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=8 * -(-len(tokenizer) // 8),
            d_model=32,
            d_kv=d_kv,
            d_ff=64,
            num_heads=2,
            num_layers=blocks,
            num_decoder_layers=blocks,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            decoder_start_token_id=0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
