import pytest
import torch
from hypothesis import given, strategies as st

from helpers.data.pairs import Collator, SimilarLengths, encode_pairs, summary_pairs


def test_pairs_end_with_the_end_token_and_come_back_as_text(tiny_tokenizer, dialogues, summaries):
    rows = [{"dialogue": dialogue, "summary": summary} for dialogue, summary in zip(dialogues, summaries)]
    pairs = encode_pairs(*summary_pairs(rows, template="none"), tiny_tokenizer, 128, 64)
    assert all(ids[-1] == tiny_tokenizer.eos_token_id for name in ("input_ids", "labels") for ids in pairs[name])
    assert [tiny_tokenizer.decode(ids, skip_special_tokens=True) for ids in pairs["labels"]] == summaries
    assert [tiny_tokenizer.decode(ids, skip_special_tokens=True) for ids in pairs["input_ids"]] == dialogues


@pytest.mark.parametrize(
    ("prompts", "completions", "named"),
    [
        ([], [], "0 prompts"),
        (["a"], ["b", "c"], "1 prompts and 2 completions"),
        (["a", " "], ["b", "c"], r"prompts\[1\]: ' ' is empty"),
        (["a"], [""], r"completions\[0\]: '' is empty"),
        (["a", "b"], ["c", "d \ud83d"], r"completions\[1\]: 'd \\ud83d' holds half a character .*; write"),
        (["a " * 200], ["b"], r"prompts\[0\] has \d+ tokens, the limit is 128.*max_prompt_tokens"),
        (["a", "a"], ["b", "b " * 70], r"completions\[1\] has \d+ tokens, the limit is 64.*max_completion_tokens"),
    ],
)
def test_pairs_that_cannot_be_trained_on_are_named(tiny_tokenizer, prompts, completions, named):
    with pytest.raises(ValueError, match=named):
        encode_pairs(prompts, completions, tiny_tokenizer, 128, 64)


def test_completions_that_are_only_measured_may_have_any_length(tiny_tokenizer):
    assert len(encode_pairs(["a"], ["b " * 70], tiny_tokenizer, 128, None)["labels"][0]) > 64


@given(lengths=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), min_size=1, max_size=6))
def test_padding_is_masked_everywhere(lengths):
    features = [{"input_ids": [7] * prompt, "labels": [9] * completion} for prompt, completion in lengths]
    batch = Collator(pad_token_id=0)(features)
    assert all(tensor.shape[1] % 8 == 0 and tensor.shape[0] == len(lengths) for tensor in batch.values())
    assert batch["attention_mask"].sum(1).tolist() == [prompt for prompt, _ in lengths]
    assert torch.equal(batch["input_ids"] == 7, batch["attention_mask"].bool())
    assert (batch["labels"] == 9).sum(1).tolist() == [completion for _, completion in lengths]
    assert set(batch["labels"].unique().tolist()) <= {9, -100}


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=60), batch_size=st.integers(1, 8), epoch=st.integers(0, 3)
)
def test_an_epoch_holds_every_pair_once_in_an_order_of_its_own_that_repeats(lengths, batch_size, epoch):
    sampler = SimilarLengths(lengths, batch_size, seed=5)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order) == list(range(len(lengths))) == list(range(len(sampler)))
    assert list(sampler) == order


def test_neighbours_are_of_similar_length():
    lengths = [int(length) for length in torch.randint(10, 500, (400,), generator=torch.Generator().manual_seed(0))]
    order = list(SimilarLengths(lengths, 8, seed=1))

    def padding(order):
        return sum(
            8 * max(chosen) - sum(chosen)
            for start in range(0, 400, 8)
            for chosen in [[lengths[row] for row in order[start : start + 8]]]
        )

    assert padding(order) < 0.2 * padding(range(400))
    other = SimilarLengths(lengths, 8, seed=1)
    other.set_epoch(1)
    assert list(other) != order
