"""What the tests of quantization share: a model whose layers' widths are whole groups, and texts for it."""

import torch
from transformers import T5Config, T5ForConditionalGeneration


def wide_model(tokenizer, tied=True, seed=0):
    """An untrained T5 of two blocks with 32 and 64 columns; its head apart from the embeddings unless tied."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(
            T5Config(
                vocab_size=8 * -(-len(tokenizer) // 8),
                d_model=32,
                d_kv=16,
                d_ff=64,
                num_heads=2,
                num_layers=2,
                num_decoder_layers=2,
                feed_forward_proj="gated-gelu",
                dropout_rate=0.0,
                decoder_start_token_id=0,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
        if not tied:
            model.lm_head = torch.nn.Linear(32, model.config.vocab_size, bias=False)
            model.config.tie_word_embeddings = False
    return model.eval()
