"""The decoder in plain torch: Llama's numbers, with a cache too; faults that a comparison must see; what it writes."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from helpers.transformer import gpt
from helpers.transformer.gpt import Decoder, as_llama, optimizers, rotated, rotations, write
from helpers.transformer.language_models import BREAK, BYTES, WINDOW, Dialogues, Shape, byte_losses, fit

SHAPE = Shape(32, 2)


def rows(count=3, length=70):
    return torch.randint(BYTES, (count, length), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def busy():
    """A decoder in whose logits every weight can be seen, the norms' too."""
    decoder, generator = Decoder(SHAPE, seed=3), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.copy_(2 * weight if weight.ndim > 1 else 0.5 + torch.rand(len(weight), generator=generator))
    return decoder.eval()


@torch.no_grad()
def difference(decoder, llama):
    return (decoder(rows()) - llama(rows()).logits).abs().max().item()


def test_it_is_llama_with_the_same_weights(busy):
    assert difference(busy, as_llama(busy, SHAPE)) < 1e-5


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("rotated", lambda states, cosines, sines: rotated(states, cosines, -sines)),
        ("rotated", lambda states, cosines, sines: states),
        ("rotated", lambda states, cosines, sines: rotated(states.flip(-1), cosines, sines).flip(-1)),
        ("scaled_dot_product_attention", lambda q, k, v, mask, is_causal: scaled_dot_product_attention(q, k, v)),
        ("scaled_dot_product_attention", lambda q, k, v, mask, is_causal: (q @ k.mT / 4).tril().softmax(-2) @ v),
        ("silu", torch.nn.functional.gelu),
    ],
)
def test_a_fault_breaks_it(busy, monkeypatch, name, wrong):
    llama = as_llama(busy, SHAPE)
    monkeypatch.setattr(gpt, name, wrong)
    assert difference(busy, llama) > 1e-3


def test_gradients_are_llamas(busy):
    llama = as_llama(busy, SHAPE)
    busy(rows()).logsumexp(-1).sum().backward()
    llama(rows()).logits.logsumexp(-1).sum().backward()
    theirs = {name: weight.grad for name, weight in llama.named_parameters()}
    for name, weight in busy.named_parameters():
        grad = theirs[gpt.llama_name(name)]
        assert torch.allclose(weight.grad, grad, atol=1e-3 * grad.abs().max().item()), name


def test_weights_with_other_names_are_refused(busy):
    busy.blocks[0].attention.further = torch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="further"):
        as_llama(busy, SHAPE)


@pytest.mark.parametrize("pieces", [[70], [1] * 70, [30, 1, 39]])
@torch.no_grad()
def test_with_a_cache_the_logits_are_those_of_the_whole(busy, pieces):
    cache = []
    found = torch.cat([busy(part, cache) for part in rows().split(pieces, 1)], 1)
    assert torch.allclose(found, busy(rows()), atol=1e-5)
    assert len(cache) == SHAPE.layers and cache[0][0].shape == (3, SHAPE.heads, 70, 16)


@torch.no_grad()
def test_nothing_looks_ahead_and_positions_count(busy):
    changed = rows().clone()
    changed[:, 40] = (changed[:, 40] + 1) % BYTES
    before, after = busy(rows()), busy(changed)
    assert torch.equal(before[:, :40], after[:, :40]) and not torch.allclose(before[:, 41:], after[:, 41:], atol=1e-3)
    one, other = rotations(torch.tensor([0, 1]), 16)[0]
    assert torch.equal(one, torch.ones(16)) and not torch.equal(one, other)


def test_weights_repeat_with_their_seed_and_leave_torchs_generator():
    state = torch.get_rng_state()
    first, again, other = (Decoder(SHAPE, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters()))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


def test_every_weight_has_one_optimizer():
    model = Decoder(SHAPE)
    matrices, others = ([w for group in each.param_groups for w in group["params"]] for each in optimizers(model))
    assert {id(w) for w in (*matrices, *others)} == {id(w) for w in model.parameters()}
    assert len(matrices) == 7 * SHAPE.layers and model.embedding.weight in set(others)


def test_a_training_learns_and_gives_its_losses():
    texts, model = Dialogues("travel"), Decoder(SHAPE)
    before = byte_losses(model, texts.some(4, "held")).mean()
    losses = fit(model, texts.draw("t"), 2**15, optimizers(model))
    assert len(losses) == 32 and losses[-1] < losses[0] - 2
    assert byte_losses(model, texts.some(4, "held")).mean() < before - 2


def test_a_penalty_is_added_and_not_reported():
    def trained(weight):
        model = Decoder(SHAPE, seed=1)
        norm = model.norm.weight
        losses = fit(model, Dialogues("travel").draw("t"), 2048, optimizers(model), lambda: weight * norm.sum())
        return losses[0], norm.detach().mean().item()

    free, pressed = trained(0.0), trained(100.0)
    assert free[0] == pytest.approx(pressed[0]) and pressed[1] < free[1]


class Reciter:
    """Stands in for a decoder: says a text by heart, and keeps count of what was read."""

    def __init__(self, text):
        self.ids, self.reads = (BREAK + text).encode(), []

    def __call__(self, ids, cache):
        seen = (cache[0][0].shape[2] if cache else 0) + ids.shape[1]
        self.reads.append(ids.shape[1])
        cache[:] = [(torch.zeros(1, 1, seen, 1),) * 2]
        logits = torch.zeros(*ids.shape, BYTES)
        logits[:, -1, self.ids[len(self.reads) + 1]] = 50.0
        return logits


def test_a_text_ends_at_the_first_break():
    assert write(Reciter("A: Hi.\n\nA: What?"), 1, 12) == ["A: Hi."]


def test_what_stands_before_is_read_and_not_given():
    reciter = Reciter("A: Hi.\n\n")
    assert write(reciter, 1, 8, before="B: Bye." * 100) == ["A: Hi."] and reciter.reads[0] == WINDOW // 2


def test_behind_the_window_half_of_it_is_read_anew():
    text = "abcdefgh" * 40
    reciter = Reciter(text)
    assert write(reciter, 1, 300) == [text[:300]]
    assert set(reciter.reads) == {2, 1, WINDOW // 2} and reciter.reads.count(WINDOW // 2) == 1


def test_texts_repeat_with_their_seed():
    model = Decoder(SHAPE, seed=1)
    first, again, other = (write(model, 2, WINDOW + 80, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    with pytest.raises(ValueError, match="temperature: 0"):
        write(model, 1, 10, temperature=0)


def test_a_cold_text_is_the_likeliest_one(busy):
    ids = torch.tensor([list(BREAK.encode())])
    with torch.no_grad():
        for _ in range(20):
            ids = torch.cat([ids, busy(ids)[:, -1:].argmax(-1)], 1)
    likeliest = bytes(ids[0, len(BREAK) :].tolist()).decode(errors="replace").partition(BREAK)[0]
    assert write(busy, 1, 20, temperature=1e-4) == [likeliest]
