"""What the training tests share; run as a program, it trains and is killed where the caller says (see
test_training.py).
"""

import copy
import os
import signal
import sys

import torch

from helpers import progress
from helpers.data.pairs import Collator, encode_pairs
from helpers.settings import load_settings
from helpers.training.finetuning_methods import ATTENTION, full, lora
from helpers.training.trainer import train
from tests.conftest import DIALOGUES, SUMMARIES

METHODS = {"full": full(1e-2), "lora": lora(4, ATTENTION, 2e-2, alpha=4)}


def tiny_settings():
    return load_settings("pocket", batch_size=2, train_steps=12)


def with_dropout(model, share=0.1):
    """A copy that needs its random state back to repeat."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = share
    return model


def tiny_pairs(tokenizer, turn=1):
    """Each dialogue with the summary of another one: something new to learn."""
    return encode_pairs(DIALOGUES, SUMMARIES[turn:] + SUMMARIES[:turn], tokenizer, 128, 64)


def tiny_batch(tokenizer):
    """Those pairs as one batch."""
    return Collator(tokenizer.pad_token_id)(list(tiny_pairs(tokenizer)))


def logits(model, batch):
    """(B, T, V), without gradients."""
    with torch.no_grad():
        return model(**batch).logits


def tiny_run(model, tokenizer, folder, method="lora", known=False, **options):
    """A training on those pairs; validated on what the model knows by heart, if `known`: training makes that worse."""
    return train(
        model,
        tokenizer,
        tiny_pairs(tokenizer),
        tiny_pairs(tokenizer, turn=0 if known else 1),
        METHODS[method],
        tiny_settings(),
        folder,
        **{"evaluations": 6, "show_progress": False} | options,
    )


if __name__ == "__main__":
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    source, folder, chosen, last_step = sys.argv[1:]

    progress.SHARE = 1  # every step is told, whatever else the machine does

    def die(seen, _):
        if seen and seen[-1][0] >= int(last_step):
            os.kill(os.getpid(), signal.SIGKILL) if hasattr(signal, "SIGKILL") else os._exit(9)

    torch.set_num_threads(1)
    loaded = with_dropout(AutoModelForSeq2SeqLM.from_pretrained(source))
    tiny_run(loaded, AutoTokenizer.from_pretrained(source), folder, chosen, listener=die)
