"""What the tests of quantization share: a model whose layers' widths are whole groups, and texts for it."""

import torch

from tests.tiny_world import tiny_t5


def wide_model(tokenizer, tied=True, seed=0):
    """An untrained T5 of two blocks with 32 and 64 columns; its head apart from the embeddings unless tied."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = tiny_t5(tokenizer, d_kv=16, blocks=2)
        if not tied:
            model.lm_head = torch.nn.Linear(32, model.config.vocab_size, bias=False)
            model.config.tie_word_embeddings = False
    return model.eval()
