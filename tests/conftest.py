"""Fixtures that several test files share: a tokenizer and a model small enough to be made in a second, without
files.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("kit", deadline=None)  # how long an example takes says nothing about whether it is right
settings.load_profile("kit")

DIALOGUES = [
    """#Person1#: Did you water the tomatoes while I was away?
#Person2#: Twice a day. They're taller than my son now.
#Person1#: Wonderful. Take a basket of them home, please.
#Person2#: Gladly. He eats them like sweets.""",
    """#Person1#: The kettle has stopped working again.
#Person2#: It's the fuse. I'll bring a new one at seven.
#Person1#: Then we drink cold lemonade until seven.""",
    """#Person1#: How much is a ticket to the harbour?
#Person2#: Four pounds, and the last bus leaves at 9:40.
#Person1#: And back?
#Person2#: Walking is free, sir. It takes half an hour along the water.""",
    """#Person1#: Your report is two weeks late.
#Person2#: I know. My computer died and took it along.
#Person1#: Write it again by Friday, and this time keep a copy.
#Person2#: I promise. Two copies.""",
    """#Person1#: Would you feed my cat on Saturday?
#Person2#: Of course. Does he still bite?
#Person1#: Only people who are late with his breakfast.""",
    """#Person1#: I found this glove on the stairs. Is it yours?
#Person2#: No, but it fits the one I found on Monday!
#Person1#: Then somebody in this house has very cold hands.""",
]
SUMMARIES = [
    "He watered the tomatoes twice a day.",
    "The kettle is broken.",
    "Four pounds to the harbour; the last bus leaves at 9:40, and walking back is free.",
    "The report is late because a computer died. #Person2# promises two copies.",
    "#Person2# feeds the cat.",
    "Somebody has cold hands in this house.",
]


@pytest.fixture(scope="session")
def dialogues():
    """Six short dialogues."""
    return list(DIALOGUES)


@pytest.fixture(scope="session")
def summaries():
    """What `tiny_model` says about each of `dialogues`; from 5 to 40 tokens."""
    return list(SUMMARIES)


@pytest.fixture
def no_proxies(monkeypatch):
    """The environment names no proxy, and no exception from one."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def built_site(tmp_path_factory):
    """The kit's own site, one of whose labs has outputs that attack; for reading only. Takes some seconds."""
    from tests.cli.site_cases import build_attacked

    return build_attacked(tmp_path_factory.mktemp("site"))


@pytest.fixture
def hears_all(monkeypatch):
    """A listener may take all the time it needs: else a busy machine decides which of its calls are left out."""
    monkeypatch.setattr("helpers.progress.SHARE", 1)


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """A tokenizer of the same kind as pocket-t5's, with some 500 pieces and a window of 128 tokens."""
    from pocket.tokenizer import build_tokenizer

    texts = (
        DIALOGUES
        + SUMMARIES
        + ["Summarize the following conversation.\n\nSummary:", "Answer the question. Question: Answer:"]
    )
    return build_tokenizer(texts, vocab_size=500, model_max_length=128)


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer):
    """A T5 of one layer that has learned SUMMARIES by heart in a second; for reading only: copy it before training
    it.
    """
    import torch

    from tests.tiny_world import tiny_t5

    torch.set_num_threads(1)  # for matrices this small, threads cost more than they give
    inputs = tiny_tokenizer(DIALOGUES, return_tensors="pt", padding=True)
    labels = tiny_tokenizer(SUMMARIES, return_tensors="pt", padding=True)["input_ids"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = tiny_t5(tiny_tokenizer, d_kv=8, blocks=1)
        optimizer, steps = torch.optim.AdamW(model.parameters(), lr=1e-2), 80
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
        for _ in range(steps):
            model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                labels=labels.masked_fill(labels == tiny_tokenizer.pad_token_id, -100),
            ).loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return model.eval()
