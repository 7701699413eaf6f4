import math

import pytest
import torch
from hypothesis import given, strategies as st
from transformers import GenerationConfig

from helpers.models.generation import GenerationError, generate
from helpers.models.sampling import greedy_decode, next_token_logits, token_distribution, token_text
from tests.tiny_world import tiny_bart

LOGITS = st.lists(st.floats(-15, 15, width=32), min_size=2, max_size=40).map(torch.tensor)
TEMPERATURE = st.floats(0.1, 5.0)
TOP_P = st.floats(0.01, 1.0)


@pytest.mark.parametrize("maximum", [1, 5, 64])
def test_greedy_by_hand_equals_generate(tiny_model, tiny_tokenizer, dialogues, maximum):
    by_hand = [[step.id for step in greedy_decode(tiny_model, tiny_tokenizer, text, maximum)] for text in dialogues]
    texts = [text.strip() for text in tiny_tokenizer.batch_decode(by_hand, skip_special_tokens=True)]
    assert texts == generate(tiny_model, tiny_tokenizer, dialogues, max_new_tokens=maximum, show_progress=False)


def test_no_more_steps_are_asked_for_than_the_model_has_positions(tiny_tokenizer, summaries):
    model = tiny_bart(64)
    with pytest.raises(GenerationError, match="max_new_tokens=200: this model has 64 positions.*at most 63"):
        next(greedy_decode(model, tiny_tokenizer, summaries[1], max_new_tokens=200))
    assert 1 <= len(list(greedy_decode(model, tiny_tokenizer, summaries[1], max_new_tokens=63))) <= 63


def test_steps_list_candidates_best_first_and_end_with_the_end_token(tiny_model, tiny_tokenizer, dialogues):
    steps = list(greedy_decode(tiny_model, tiny_tokenizer, dialogues[1], candidates=4))
    assert steps[-1].id == tiny_tokenizer.eos_token_id and steps[-1].token == "</s>"
    for step in steps:
        chances = [chance for _, chance in step.candidates]
        assert len(chances) == 4 and chances == sorted(chances, reverse=True) and sum(chances) <= 1 + 1e-6
        assert step.candidates[0] == (step.token, step.probability)


def test_decoding_by_hand_leaves_mode_and_inference_mode_alone(tiny_model, tiny_tokenizer, dialogues):
    steps = greedy_decode(tiny_model, tiny_tokenizer, dialogues[0])
    next(steps)
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()


def test_next_token_logits_are_those_that_generate_sees(tiny_model, tiny_tokenizer, dialogues):
    inputs = tiny_tokenizer(dialogues[3], return_tensors="pt")
    config = GenerationConfig(
        max_new_tokens=4,
        output_logits=True,
        return_dict_in_generate=True,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    output = tiny_model.generate(**inputs, generation_config=config)
    completion = output.sequences[0, 1:].tolist()
    for place, seen in enumerate(output.logits):
        ours = next_token_logits(tiny_model, tiny_tokenizer, dialogues[3], completion[:place])
        assert ours.shape == (tiny_model.config.vocab_size,)
        torch.testing.assert_close(ours, seen[0], atol=1e-4, rtol=1e-4)


def test_final_distribution_is_the_one_that_generate_draws_from(tiny_model, tiny_tokenizer, dialogues):
    config = GenerationConfig(
        max_new_tokens=1,
        do_sample=True,
        temperature=2.5,
        top_k=30,
        top_p=0.8,
        output_scores=True,
        return_dict_in_generate=True,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    drawn = tiny_model.generate(**tiny_tokenizer(dialogues[2], return_tensors="pt"), generation_config=config).scores[
        0
    ][0]
    logits = next_token_logits(tiny_model, tiny_tokenizer, dialogues[2])
    ours = token_distribution(logits, temperature=2.5, top_k=30, top_p=0.8)
    torch.testing.assert_close(ours.final, drawn.softmax(-1), atol=1e-5, rtol=1e-4)
    assert torch.equal(ours.in_top_p, drawn > -torch.inf)


def test_what_survives_by_hand():
    table = token_distribution(torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1])), top_k=3, top_p=0.7)
    assert table.in_top_k.tolist() == [True, True, True, False]
    assert table.in_top_p.tolist() == [True, True, False, False]  # 4/9 + 3/9 of what top-k left is above 0.7
    assert table.final.tolist() == pytest.approx([4 / 7, 3 / 7, 0, 0])


@given(logits=LOGITS)
def test_nothing_asked_nothing_changed(logits):
    table = token_distribution(logits)
    assert torch.equal(table.final, table.original) and torch.equal(table.tempered, table.original)
    assert table.in_top_k.all() and table.in_top_p.all()


@given(logits=LOGITS, temperature=TEMPERATURE, top_k=st.integers(0, 50), top_p=TOP_P)
def test_truncation_keeps_the_best_and_sums_to_one(logits, temperature, top_k, top_p):
    table = token_distribution(logits, temperature, top_k, top_p)
    assert table.final.sum().item() == pytest.approx(1, abs=1e-5)
    assert table.in_top_p.any() and not (table.in_top_p & ~table.in_top_k).any()
    assert torch.equal(table.final > 0, table.in_top_p & (table.final > 0))
    if not table.in_top_p.all():
        assert table.tempered[table.in_top_p].min() >= table.tempered[~table.in_top_p].max()


@given(logits=LOGITS, temperature=TEMPERATURE)
def test_temperature_sharpens_below_one_and_flattens_above(logits, temperature):
    table = token_distribution(logits, temperature)
    best, tempered = table.original.max().item(), table.tempered.max().item()
    assert tempered >= best - 1e-5 if temperature <= 1 else tempered <= best + 1e-5


@given(logits=LOGITS, top_p=TOP_P)
def test_top_p_keeps_enough_probability(logits, top_p):
    table = token_distribution(logits, top_p=top_p)
    assert table.original[table.in_top_p].sum().item() >= top_p - 1e-4


def test_rows_are_plain_and_best_first(tiny_model, tiny_tokenizer, dialogues):
    table = token_distribution(next_token_logits(tiny_model, tiny_tokenizer, dialogues[0]), top_k=2)
    rows = table.rows(tiny_tokenizer, 3)
    assert [row["in_top_k"] for row in rows] == [True, True, False] and rows[2]["final"] == 0
    assert rows[0]["original"] >= rows[1]["original"] >= rows[2]["original"]
    assert rows[0]["token"] == tiny_tokenizer.convert_ids_to_tokens(rows[0]["id"])


def test_ids_beyond_the_vocabulary_have_a_name(tiny_tokenizer):
    assert token_text(tiny_tokenizer, len(tiny_tokenizer) + 1) == f"<{len(tiny_tokenizer) + 1}>"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temperature": 0}, "temperature=0"), ({"top_k": -3}, "top_k=-3"), ({"top_p": math.inf}, "top_p=inf")],
)
def test_values_out_of_range_are_named(options, message):
    with pytest.raises(GenerationError, match=message):
        token_distribution(torch.zeros(4), **options)


def test_wrong_maximum_and_prompt_are_named(tiny_model, tiny_tokenizer):
    with pytest.raises(GenerationError, match="max_new_tokens=0"):
        next(greedy_decode(tiny_model, tiny_tokenizer, "Hello", max_new_tokens=0))
    with pytest.raises(GenerationError, match="empty"):
        next_token_logits(tiny_model, tiny_tokenizer, " ")
