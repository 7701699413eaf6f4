"""Asks a hub for what the labs ask for, in a process of its own: libraries read HF_ENDPOINT when they are imported.

python -m tests.hub.visitor < visits.json > found.json
"""

from __future__ import annotations

import json
import sys
import time
import warnings

from transformers import AutoModel, AutoTokenizer

import helpers.hub
from helpers.alignment.reward_model import load_reward
from helpers.data.loading import load_dialogues
from helpers.hardware import hub_is_reachable
from helpers.models.generation import generate
from helpers.models.loading import FILES, load_seq2seq
from helpers.models.sizes import count_parameters
from helpers.settings import load_settings


def load_model(settings):
    """What came, as JSON knows it."""
    tokenizer, model = load_seq2seq(settings)
    written = generate(model, tokenizer, ["Hello."], max_new_tokens=2, show_progress=False)
    return {"parameters": count_parameters(model).total, "window": tokenizer.model_max_length, "written": len(written)}


def load_data(settings):
    """What came, as JSON knows it."""
    data = load_dialogues(settings)
    return {split: [len(rows), len(rows[0]["summaries"])] for split, rows in data.items()}


def load_judge(settings):
    """What came, as JSON knows it; the second text is longer than the classifier's window."""
    reward = load_reward(settings)
    return {"label": reward.label, "scores": reward(["Hello.", "You idiot! " * 2000]).tolist()}


def load_any(settings):
    """What came, as JSON knows it, of a model of another kind."""
    folder = helpers.hub.fetch(settings.model, None, FILES, "model_revision")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    states = model(**tokenizer("Hello.", return_tensors="pt")).last_hidden_state
    template = tokenizer.chat_template and tokenizer.apply_chat_template(TURN, tokenize=False)
    return {"type": model.config.model_type, "width": states.shape[-1], "template": template}


TURN = [{"role": "user", "content": "Hello."}]
LOADERS = {"model": load_model, "data": load_data, "reward_model": load_judge, "any": load_any}


def visit(what: str, overrides: dict, reachable: bool = True) -> dict:
    """What a learner gets who loads `what` under the profile small: a result or an error, warnings, and seconds.

    Args:
        reachable: False is a computer whose network is gone.
    """
    started, found = time.monotonic(), {"result": None, "error": "", "kind": ""}
    helpers.hub.hub_is_reachable = hub_is_reachable if reachable else lambda: False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found["result"] = LOADERS[what](load_settings("small", device="cpu", dtype="float32", **overrides))
        except Exception as error:  # whatever it is, the test wants to see it
            found |= {"error": str(error), "kind": type(error).__name__}
    said = [str(warning.message) for warning in caught if "revision" in str(warning.message)]
    return found | {"warnings": said, "seconds": time.monotonic() - started}


if __name__ == "__main__":
    helpers.hub.PAUSE = 0.1
    print(json.dumps([visit(*each) for each in json.load(sys.stdin)]))
