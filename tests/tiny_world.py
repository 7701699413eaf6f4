"""Tiny models: one with data of its own in a folder, for tests that load both by settings, and one that chats."""

import json

import torch
from tokenizers import Tokenizer, decoders, models as token_models, pre_tokenizers, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from helpers.settings import load_settings

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + ': ' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


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


def tiny_bart(positions):
    """An untrained BART with so many positions, for prompts and for completions."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 1}
    config = BartConfig(vocab_size=512, max_position_embeddings=positions, **sizes, **heads, **ends)
    return BartForConditionalGeneration(config).eval()


def tiny_chat_tokenizer(texts, **options):
    """A tokenizer of the kind that chat models have, trained on these texts: bytes, a template, a window of 256 and no
    padding token unless options say otherwise.
    """
    core = Tokenizer(token_models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", **({"model_max_length": 256} | options))
    made.chat_template = CHAT_TEMPLATE
    return made


def tiny_llama(tokenizer, seed=3, spare=0):
    """An untrained Llama of two layers, with four heads that share two heads of keys and values; its vocabulary has so
    many spare rows.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + spare,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.4,  # so that the next token depends on all before it
    )
    return LlamaForCausalLM(config).eval()
