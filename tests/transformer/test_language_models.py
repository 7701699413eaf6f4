"""Language models on bytes: streams without repetition, losses as torch counts them, a training that learns and
repeats.
"""

from itertools import islice

import numpy as np
import pytest
import torch

from helpers.transformer.language_models import (
    BREAK,
    BYTES,
    DOMAINS,
    FLOOR,
    Dialogues,
    Shape,
    batches,
    byte_ids,
    byte_losses,
    losses_of,
    new_decoder,
    rate_at,
    sampled_text,
    train_decoder,
    windows,
)
from pocket.scenarios.screenplay import UNSEEN


@pytest.fixture(scope="module")
def everything():
    """All known scenarios."""
    return Dialogues()


def test_domains_part_the_scenarios(everything):
    names = [{scenario.name for scenario in Dialogues(domain).scenarios} for domain in DOMAINS]
    assert len(DOMAINS) == 6 and sum(map(len, names)) == len(set().union(*names)) == len(everything.scenarios)
    assert not set().union(*names) & set(UNSEEN)
    assert {scenario.name for scenario in Dialogues(without="travel").scenarios} == set().union(*names) - {
        scenario.name for scenario in Dialogues("travel").scenarios
    }
    with pytest.raises(ValueError, match="domain: 'space' is not one of friends"):
        Dialogues("space")


def test_dialogues_repeat_with_their_seed_and_not_otherwise(everything):
    first, again, other = everything.some(50, "a"), everything.some(50, "a"), everything.some(50, "b")
    assert first == again and len(set(first)) == 50 and not set(first) & set(other)
    assert all(text.startswith(BREAK + "A: ") and "\nB: " in text and "#Person" not in text for text in first)


def test_batches_hold_every_byte_once_and_windows_all_of_a_text(everything):
    texts = everything.some(8, "c")
    seen = torch.cat([rows.flatten() for rows in batches(texts, 2, 64)])
    whole = byte_ids("".join(texts))
    assert torch.equal(seen, whole[: len(seen)]) and 0 <= len(whole) - len(seen) < 128
    for text in ("é", texts[0]):
        rows = windows(text, 64)
        assert bytes(rows[rows >= 0].tolist()).decode() == text and rows.shape[1] == 64


def test_parameters_are_those_of_the_model():
    for shape in (Shape(16, 1), Shape(32, 2)):
        assert (
            shape.parameters == sum(weight.numel() for weight in new_decoder(shape, 0).parameters())
            and shape.embeddings == BYTES * shape.width
        )
    with pytest.raises(ValueError, match="width 20, 1 layers"):
        Shape(20, 1)


def test_losses_are_what_transformers_counts_and_padding_counts_nothing():
    model, rows = (
        new_decoder(Shape(16, 1), 0).eval(),
        torch.randint(BYTES, (2, 12), generator=torch.Generator().manual_seed(0)),
    )
    assert losses_of(model, rows).mean().item() == pytest.approx(
        model(input_ids=rows, labels=rows).loss.item(), rel=1e-5
    )
    shorter = torch.nn.functional.pad(rows, (0, 3), value=-1)
    assert (
        torch.allclose(losses_of(model, shorter)[:, :11], losses_of(model, rows), atol=1e-5)
        and not losses_of(model, shorter)[:, 11:].any()
    )
    text = "A: Good morning. " * 30
    alone = [losses_of(model, windows(text, 256))]
    assert byte_losses(model, [text, "B: No."])[0] == pytest.approx(
        alone[0].sum().item() / (alone[0] > 0).sum().item(), rel=1e-4
    )


def test_rates_rise_and_fall_to_their_end():
    rates = [rate_at(step, 200) for step in range(201)]
    top = int(np.argmax(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) > 0.98 and rates[-1] == pytest.approx(FLOOR)


def test_a_training_learns_and_repeats_and_leaves_torchs_generator(everything):
    before, state = byte_losses(new_decoder(Shape(16, 1), 3), everything.some(5, "held")).mean(), torch.get_rng_state()
    first, again = (train_decoder(Shape(16, 1), everything.draw("t"), 2**15, 3) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters()))
    assert byte_losses(first, everything.some(5, "held")).mean() < before - 1


def test_a_budget_that_cannot_be_spent_is_refused(everything):
    with pytest.raises(ValueError, match="budget: 100 bytes are less than one step"):
        train_decoder(Shape(16, 1), everything.draw("t"), 100, 0)
    with pytest.raises(ValueError, match="texts: end after 1,024 of 4,096 bytes"):
        train_decoder(Shape(16, 1), islice(everything.draw("t"), 3), 4096, 0)


def test_a_trained_decoder_writes_what_it_has_read_and_repeats_with_its_seed():
    model = train_decoder(Shape(16, 1), iter(["\n\nabab abab abab abab "] * 10_000), 60 * 1024, 0)
    text = sampled_text(model, 1)
    assert text == sampled_text(model, 1) != sampled_text(model, 2) and len(text.encode()) >= 250
    assert sum(text.count(piece) for piece in "ab \n") > 0.9 * len(text) and "abab" in text


def test_plays_are_what_dialogues_are_drawn_from(everything):
    plays = list(islice(everything.plays("a"), 40))
    assert [play.dialogue().count("\n") for play in plays] == [
        text.strip().count("\n") for text in everything.some(40, "a")
    ]
    assert any(play.rude for play in plays) and all("#Person1#" in play.dialogue() for play in plays)
