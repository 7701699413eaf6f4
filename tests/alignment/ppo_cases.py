"""What the tests of PPO share; run as a program, it trains and is killed where the caller says (see
test_ppo_training.py).
"""

import os
import signal
import sys

import torch

from helpers import progress
from helpers.alignment.policy import Policy
from helpers.alignment.ppo_trainer import PPOConfig, PPOTrainer
from helpers.training.finetuning_methods import ATTENTION, lora
from tests.conftest import DIALOGUES

CONFIG = {"batch_size": 6, "mini_batch_size": 3, "epochs": 2, "learning_rate": 5e-3, "max_new_tokens": 12}


class Brevity:
    """A reward: minus the number of words."""

    name = "brevity"

    def __call__(self, texts):
        return torch.tensor([-float(len(text.split())) for text in texts])


def tiny_trainer(model, tokenizer, folder=None, reward=None, seed=3, **changed):
    policy = Policy.from_supervised(model, lora(4, ATTENTION, alpha=8), seed=1)
    return PPOTrainer(policy, tokenizer, reward or Brevity(), DIALOGUES, PPOConfig(**CONFIG | changed), seed, folder)


if __name__ == "__main__":
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    source, target, last_step = sys.argv[1:]

    progress.SHARE = 1  # every step is told, whatever else the machine does

    def die(history):
        if len(history) >= int(last_step):
            os.kill(os.getpid(), signal.SIGKILL) if hasattr(signal, "SIGKILL") else os._exit(9)

    torch.set_num_threads(1)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(source)
    tiny_trainer(loaded, AutoTokenizer.from_pretrained(source), target, anneal_steps=10).run(
        8, die, save_every=2, show_progress=False
    )
