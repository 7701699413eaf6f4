import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from transformers import T5Config

from helpers.models import generation, generation as rounds
from helpers.models.generation import (
    NEUTRAL,
    RULES,
    GenerationError,
    check_parameters,
    evaluating,
    generate,
    generate_ids,
    positions,
)
from tests.tiny_world import tiny_bart

SESSION = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
SAMPLING = {"do_sample": True, "temperature": 2.0, "max_new_tokens": 12}


@pytest.fixture
def say(tiny_model, tiny_tokenizer):
    def generated(prompts, **options):
        return generate(tiny_model, tiny_tokenizer, prompts, show_progress=False, **options)

    return generated


def test_completions_stand_in_the_order_of_the_prompts(say, dialogues, summaries):
    assert say(dialogues) == summaries
    assert say(dialogues[::-1], batch_size=2) == summaries[::-1]


@SESSION
@given(places=st.lists(st.integers(0, 5), max_size=12), batch_size=st.integers(1, 5))
def test_sorting_and_batching_change_nothing(say, dialogues, summaries, places, batch_size):
    assert say([dialogues[place] for place in places], batch_size=batch_size) == [summaries[place] for place in places]


def test_equals_the_library_one_prompt_at_a_time(say, tiny_model, tiny_tokenizer, dialogues):
    alone = [
        tiny_model.generate(tiny_tokenizer(text, return_tensors="pt")["input_ids"], max_new_tokens=9)
        for text in dialogues
    ]
    assert say(dialogues, max_new_tokens=9) == [
        tiny_tokenizer.decode(ids[0], skip_special_tokens=True).strip() for ids in alone
    ]


def test_similar_lengths_share_a_batch_padded_to_its_longest(tiny_model, tiny_tokenizer, dialogues, monkeypatch):
    shapes, stock = [], tiny_model.generate
    monkeypatch.setattr(
        type(tiny_model),
        "generate",
        lambda self, **options: shapes.append(tuple(options["attention_mask"].shape)) or stock(**options),
    )
    generate(tiny_model, tiny_tokenizer, dialogues, batch_size=2, show_progress=False, max_new_tokens=1)
    lengths = sorted((len(tiny_tokenizer(text)["input_ids"]) for text in dialogues), reverse=True)
    assert shapes == [(2, lengths[0]), (2, lengths[2]), (2, lengths[4])]


def test_ids_end_before_the_end_token(tiny_model, tiny_tokenizer, dialogues):
    rows = generate_ids(tiny_model, tiny_tokenizer, dialogues, show_progress=False)
    assert len({len(row) for row in rows}) > 2
    assert not any(token in row for row in rows for token in (tiny_tokenizer.eos_token_id, tiny_tokenizer.pad_token_id))


def test_no_prompts_no_completions(say):
    assert say([]) == []


def test_a_seed_repeats_and_leaves_the_global_stream_alone(say, dialogues):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = say(dialogues, seed=7, **SAMPLING)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert say(dialogues, seed=7, **SAMPLING) == first
    assert say(dialogues, seed=8, **SAMPLING) != first


def test_without_a_seed_the_global_stream_moves(say, dialogues):
    torch.manual_seed(3)
    first, second = say(dialogues, **SAMPLING), say(dialogues, **SAMPLING)
    torch.manual_seed(3)
    assert first != second and say(dialogues, **SAMPLING) == first


def test_repeated_prompts_are_drawn_apart(say, dialogues):
    assert len(set(say([dialogues[2]] * 6, seed=0, **SAMPLING))) > 1


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True},
        {"num_beams": 2},
        {"repetition_penalty": 1.5},
        {"no_repeat_ngram_size": 1},
    ],
)
def test_options_equal_the_librarys(say, tiny_model, tiny_tokenizer, dialogues, options):
    alone = [
        tiny_model.generate(tiny_tokenizer(text, return_tensors="pt")["input_ids"], max_new_tokens=15, **options)
        for text in dialogues
    ]
    assert say(dialogues, max_new_tokens=15, **options) == [
        tiny_tokenizer.decode(ids[0], skip_special_tokens=True).strip() for ids in alone
    ]


def test_lengths_reach_the_model(tiny_model, tiny_tokenizer, dialogues):
    short = generate_ids(tiny_model, tiny_tokenizer, dialogues, show_progress=False, max_new_tokens=4)
    assert max(map(len, short)) == 4
    long = generate_ids(tiny_model, tiny_tokenizer, dialogues[1:2], show_progress=False, min_new_tokens=15)
    assert len(long[0]) >= 15 > len(generate_ids(tiny_model, tiny_tokenizer, dialogues[1:2], show_progress=False)[0])


def test_the_models_own_settings_have_no_say(tiny_model, tiny_tokenizer, dialogues, summaries):
    model = copy.deepcopy(tiny_model)
    for name, value in {
        "num_beams": 4,
        "no_repeat_ngram_size": 1,
        "max_length": 3,
        "min_length": 30,
        "do_sample": True,
    }.items():
        setattr(model.generation_config, name, value)
    kept = model.generation_config
    assert generate(model, tiny_tokenizer, dialogues, show_progress=False) == summaries
    assert model.generation_config is kept and kept.num_beams == 4


def test_sampling_from_all_tokens_unless_top_k_is_given(tiny_model):
    assert generation.to_generation_config(tiny_model, check_parameters({"do_sample": True})).top_k == 0


def test_an_adapted_model_generates_and_keeps_its_settings(tiny_model, tiny_tokenizer, dialogues, summaries):
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        copy.deepcopy(tiny_model), peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"])
    )
    kept = model.get_base_model().generation_config
    kept.num_beams = 4
    kept.no_repeat_ngram_size = 1
    assert generate(model, tiny_tokenizer, dialogues, show_progress=False) == summaries
    assert model.get_base_model().generation_config is kept


def test_modes_are_restored_module_by_module(tiny_model):
    model = copy.deepcopy(tiny_model).train()
    model.encoder.eval()
    modes = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError
    assert [module.training for module in model.modules()] == modes


def test_interrupting_closes_the_bar_and_restores_the_model(tiny_model, tiny_tokenizer, dialogues, monkeypatch, capsys):
    bars, kept, progress = [], tiny_model.generation_config, generation.progress
    monkeypatch.setattr(
        generation, "progress", lambda *args, **options: bars.append(progress(*args, **options)) or bars[0]
    )

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(tiny_model), "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(tiny_model, tiny_tokenizer, dialogues)
    assert bars[0].disable and tiny_model.generation_config is kept  # tqdm disables a bar that is closed
    assert "generating" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tok_k": 5}, "did you mean top_k"),
        ({"temprature": 0.5}, "did you mean temperature"),
        ({"zzz": 1}, "known are max_new_tokens"),
        ({"num_return_sequences": 3}, "repeat the prompt"),
        ({"max_length": 20}, "use max_new_tokens"),
        ({"temperature": 0.7}, "temperature=0.7.*do_sample=True"),
        ({"top_k": 5, "top_p": 0.9}, "top_k=5, top_p=0.9.*do_sample=True"),
        ({"do_sample": True, "temperature": 0}, "temperature=0.*above 0"),
        ({"do_sample": True, "temperature": -1.0}, "above 0"),
        ({"do_sample": True, "temperature": float("nan")}, "above 0"),
        ({"do_sample": True, "temperature": 10**400}, "above 0"),
        ({"num_beams": 2, "length_penalty": -(10**400)}, "a finite number"),
        ({"do_sample": True, "top_p": 0.0}, "top_p=0.0"),
        ({"do_sample": True, "top_p": 1.1}, "at most 1"),
        ({"do_sample": True, "top_k": -1}, "top_k=-1"),
        ({"do_sample": True, "top_k": 2.5}, "whole number"),
        ({"do_sample": True, "top_k": True}, "whole number"),
        ({"do_sample": "yes"}, "True or False"),
        ({"do_sample": True, "num_beams": 4}, "choose one"),
        ({"length_penalty": 2.0}, "length_penalty=2.0.*num_beams"),
        ({"num_beams": 2, "early_stopping": "soon"}, "early_stopping='soon'"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_new_tokens": 5, "min_new_tokens": 6}, "above max_new_tokens=5"),
        ({"repetition_penalty": 0}, "repetition_penalty=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"do_sample": True, "seed": -1}, "seed=-1"),
    ],
)
def test_wrong_parameters_are_named_before_anything_runs(
    tiny_model, tiny_tokenizer, dialogues, monkeypatch, parameters, message
):
    monkeypatch.setattr(type(tiny_model), "generate", None)
    with pytest.raises(GenerationError, match=message):
        generate(tiny_model, tiny_tokenizer, dialogues, show_progress=False, **parameters)


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": True, "temperature": 2},
        {"do_sample": True, "temperature": np.float32(0.5), "top_k": np.int64(5), "top_p": 1},
        {"repetition_penalty": 2},
        {"num_beams": np.int64(2), "length_penalty": 1, "early_stopping": "never"},
        {"max_new_tokens": np.int64(4), "min_new_tokens": np.int32(1), "no_repeat_ngram_size": np.int64(2)},
    ],
)
def test_every_kind_of_number_reaches_the_library_as_it_wants_it(say, dialogues, options):
    parameters = {name: value for name, value in options.items() if not isinstance(value, str)}
    found = check_parameters(options)
    assert all(type(found[name]) is type(NEUTRAL[name]) and found[name] == parameters[name] for name in parameters)
    assert say(dialogues, seed=0, **options) == say(dialogues, seed=0, **{name: found[name] for name in options})


def test_a_model_says_how_many_positions_it_has(tiny_tokenizer, summaries):
    model = tiny_bart(64)
    with pytest.raises(GenerationError, match="max_new_tokens=64: this model has 64 positions.*at most 63"):
        generate(model, tiny_tokenizer, summaries[1:2], max_new_tokens=64)
    assert len(generate(model, tiny_tokenizer, summaries[1:2], max_new_tokens=63, show_progress=False)) == 1
    assert positions(model.config) == 64 and positions(T5Config()) == float("inf")


def test_every_parameter_has_a_rule_that_its_neutral_value_keeps():
    assert set(RULES) == set(NEUTRAL) and all(RULES[name][1](value) for name, value in NEUTRAL.items())


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("a single text", r"write \[prompt\]"),
        (["fine", 3], "not a list of texts"),
        (["fine", " \n"], r"prompts\[1\]: ' \\n' is empty"),
        (["fine", "half \ud83d"], r"prompts\[1\]: 'half \\ud83d' holds half a character"),
    ],
)
def test_wrong_prompts_are_named(say, prompts, message):
    with pytest.raises(GenerationError, match=message):
        say(prompts)


def test_a_prompt_longer_than_the_window_is_named_with_both_lengths(say, dialogues, tiny_tokenizer):
    long = " ".join(dialogues)
    with pytest.raises(
        GenerationError, match=rf"prompts\[1\] has {len(tiny_tokenizer(long)['input_ids'])} tokens.*128"
    ):
        say([dialogues[0], long])


@pytest.fixture
def calls(monkeypatch, tiny_model):
    """Rows of each call of the library's loop."""
    seen, stock = [], type(tiny_model).generate

    def counted(self, *arguments, **options):
        seen.append(len(options["attention_mask"]))
        return stock(self, *arguments, **options)

    monkeypatch.setattr(type(tiny_model), "generate", counted)
    return seen


def test_rows_that_have_ended_leave_their_batch_and_change_no_completion(
    tiny_model, tiny_tokenizer, dialogues, summaries, calls, monkeypatch
):
    prompts = [f"{text} {number}" for number in range(4) for text in (*dialogues, *summaries)]
    together = generate_ids(tiny_model, tiny_tokenizer, prompts, max_new_tokens=40, batch_size=len(prompts))
    in_rounds = list(calls)
    calls.clear()
    monkeypatch.setattr(rounds, "FEWEST", len(prompts) + 1)
    assert generate_ids(
        tiny_model, tiny_tokenizer, prompts, max_new_tokens=40, batch_size=len(prompts)
    ) == together and calls == [len(prompts)]
    lengths = sorted(len(ids) for ids in together)
    assert lengths[3 * len(lengths) // 4 - 1] < lengths[-1], (
        "fewer than three quarters end before the last: nothing is tested"
    )
    assert (
        in_rounds[0] == len(prompts)
        and len(in_rounds) > 1
        and all(later <= 0.25 * earlier for earlier, later in pairwise(in_rounds))
    )


@pytest.mark.parametrize("options", [{"do_sample": True}, {"num_beams": 2}, {"min_new_tokens": 3}])
def test_other_ways_of_decoding_keep_their_batch(tiny_model, tiny_tokenizer, dialogues, calls, options):
    generate_ids(tiny_model, tiny_tokenizer, list(dialogues) * 3, max_new_tokens=12, batch_size=100, **options)
    assert calls == [3 * len(dialogues)]
