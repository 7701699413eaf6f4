"""Advice from the records of variants: what is surely good enough, and cheapest; the Pareto front; which notebooks have
not run.

Records of variants: measured from the file, read again instead of measured, common to all labs.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from helpers.compression import variants
from helpers.compression.compressed_files import file_bytes, save_compressed
from helpers.compression.quantized_models import low_bits, quantized
from helpers.compression.variants import (
    Variant,
    advise,
    differences,
    front,
    measure_variant,
    missing_families,
    read_variants,
    token_milliseconds,
)
from helpers.run_records import fingerprint
from helpers.training.finetuning_methods import adapt, lora
from tests.compression.quantization_cases import wide_model
from tests.training.training_cases import tiny_settings

REFERENCE = np.linspace(0.5, 0.9, 40)


def variant(name, change=0.0, spread=0.0, file=100, held=100, milliseconds=10.0, family="quantization", machine="here"):
    """A variant whose scores are the reference's plus a change, `spread` up for one half of the dialogues and down for
    the other.
    """
    scores = REFERENCE + change + spread * np.where(np.arange(40) % 2, 1, -1)
    return Variant(
        name, family, "identity", "start", {"rouge1": scores.tolist()}, file, held, 0.1, 1, [milliseconds] * 3, machine
    )


def named(*variants):
    return {each.name: each for each in variants}


FLOAT = variant("float32")


def chosen(variants, **options):
    return {(each.price, each.margin): each.name for each in advise(variants, **options)}


def test_the_cheapest_variant_that_surely_loses_no_more_is_advised_for_each_price():
    variants = named(
        FLOAT,
        variant("small", -0.01, file=20, held=80),
        variant("smaller", -0.04, file=10, held=60),
        variant("ruined", -0.3, file=1, held=1, milliseconds=1),
        variant("fast", -0.01, milliseconds=4),
    )
    found = chosen(variants)
    assert found["file", 0.02] == "small" and found["file", 0.05] == "smaller" and found["memory", 0.05] == "smaller"
    assert found["time", 0.02] == found["time", 0.05] == "fast" and len(found) == 6


def test_an_estimate_within_the_margin_is_not_enough():
    variants = named(FLOAT, variant("uncertain", -0.01, spread=0.2, file=10), variant("certain", -0.015, file=50))
    assert differences(variants)["uncertain"].estimate > -0.02 > differences(variants)["uncertain"].low
    assert chosen(variants)["file", 0.02] == "certain"


def test_the_reference_is_advised_where_nothing_else_is_good_enough():
    advice = advise(named(FLOAT, variant("ruined", -0.3, file=1)))
    assert {each.name for each in advice} == {"float32"} and {each.share for each in advice} == {1.0}
    assert str(advice[0]) == (
        "if file binds and 0.02 may be lost: float32, with 100% of the reference's file and a difference of "
        "+0.000 [+0.000, +0.000]"
    )


def test_times_of_another_machine_do_not_count_its_files_do():
    found = chosen(named(FLOAT, variant("elsewhere", milliseconds=1, file=10, machine="there")))
    assert found["time", 0.05] == "float32" and found["file", 0.05] == "elsewhere"


def test_a_missing_reference_and_other_dialogues_are_errors_that_name_them():
    with pytest.raises(KeyError, match="reference: 'float32' is not among the variants .small."):
        differences(named(variant("small")))
    short = Variant("short", "pruning", "identity", "start", {"rouge1": [0.5] * 3}, 1, 1, 0.1, 1, [1.0, 1.0], "here")
    with pytest.raises(ValueError, match="short: was scored on 3 dialogues, float32 on 40; measure it again"):
        differences(named(FLOAT, short))


def test_the_front_leaves_out_what_another_beats():
    variants = named(
        FLOAT,
        variant("small", -0.1, file=20),
        variant("as small, worse", -0.2, file=20),
        variant("larger, worse", -0.15, file=50),
        variant("tiny", -0.4, file=5),
    )
    assert front(variants, "file") == ["tiny", "small", "float32"] and front(variants, "memory") == ["float32"]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-9, 0)), min_size=1, max_size=9))
def test_every_variant_off_the_front_is_beaten_by_one_on_it_and_none_on_it_by_any(found):
    variants = named(*(variant(str(number), change / 20, file=file) for number, (file, change) in enumerate(found)))
    best = front(variants, "file")

    def beats(one, other):
        (file, change), (file_of_other, change_of_other) = found[int(one)], found[int(other)]
        return (
            file <= file_of_other and change >= change_of_other and (file, change) != (file_of_other, change_of_other)
        )

    assert not any(beats(one, other) for one in variants for other in best)
    assert all(
        any(beats(one, other) or found[int(one)] == found[int(other)] for one in best)
        for other in variants
        if other not in best
    )


def test_families_without_a_record_are_named():
    assert missing_families(named(FLOAT, variant("student", family="distillation"))) == ["pruning"]
    assert missing_families({}) == ["quantization", "distillation", "pruning"]


@pytest.fixture(scope="module")
def rows(dialogues, summaries):
    return [
        {"id": str(number), "dialogue": dialogue, "summaries": [summary], "summary": summary}
        for number, (dialogue, summary) in enumerate(zip(dialogues, summaries))
    ]


@pytest.fixture
def measured(tiny_tokenizer, rows, tmp_path):
    model = wide_model(tiny_tokenizer)
    folder = save_compressed(quantized(model, low_bits(4)), tiny_tokenizer, tmp_path / "int4")

    def measure(name="int4", family="quantization", settings=None, **options):
        start, records = fingerprint(model), tmp_path / "records"
        return measure_variant(name, family, folder, start, rows, settings or tiny_settings(), records, **options)

    return measure, folder, tmp_path / "records"


def test_a_variant_is_measured_from_its_file(measured, rows):
    measure, folder, _ = measured
    variant = measure()
    assert (
        variant.file_bytes == file_bytes(folder) and variant.load_seconds > 0 and len(variant.milliseconds) == len(rows)
    )
    assert {metric: len(values) for metric, values in variant.scores.items()}["rouge1"] == len(rows)
    assert variant.quality().estimate == pytest.approx(np.mean(variant.scores["rouge1"])) and variant.latency().low > 0


def test_in_quick_size_a_few_prompts_are_timed(measured, rows):
    quick = measured[0](settings=replace(tiny_settings(), size="quick"))
    assert len(quick.milliseconds) == 2 < len(rows) and len(quick.scores["rouge1"]) == len(rows)


def test_a_record_is_read_instead_of_measuring_and_measured_again_for_another_file(
    measured, tiny_tokenizer, monkeypatch
):
    measure, folder, _ = measured
    first = measure()
    monkeypatch.setattr(variants, "_first_use", lambda *_: pytest.fail("measured although there is a record"))
    assert measure() == first
    save_compressed(
        quantized(wide_model(tiny_tokenizer), low_bits(4)), tiny_tokenizer, folder
    )  # once more: the same weights, not the same bytes
    assert measure() == first
    save_compressed(wide_model(tiny_tokenizer, seed=1), tiny_tokenizer, folder)
    with pytest.raises(pytest.fail.Exception, match="although there is a record"):
        measure()


def test_an_adapter_counts_as_part_of_the_file(measured, tiny_tokenizer):
    measure, folder, _ = measured
    alone, model = measure(), wide_model(tiny_tokenizer)
    save_compressed(adapt(model, lora(4)), tiny_tokenizer, folder)
    first = measure("lora")
    assert (
        first.file_bytes
        == file_bytes(folder)
        > file_bytes(save_compressed(model, tiny_tokenizer, folder.parent / "base"))
        and first.held_bytes > alone.held_bytes
    )
    save_compressed(adapt(model, lora(4), seed=1), tiny_tokenizer, folder)
    assert measure("lora").identity != first.identity


def test_records_of_all_labs_are_read_those_of_other_models_only_if_asked(measured):
    measure, _, records = measured
    variant = measure()
    measure("student", "distillation")
    assert (
        list(read_variants(records)) == ["int4", "student"] and read_variants(records, variant.start)["int4"] == variant
    )
    assert list(read_variants(records, "another model", variant.start)) == ["int4", "student"]
    assert read_variants(records, "another model") == {} and read_variants(records / "nowhere") == {}


def test_of_two_records_with_one_name_the_first_family_counts(measured):
    measure, _, records = measured
    measure("int4", "pruning", again=True)
    measure("int4", "quantization", again=True)
    assert len(list(records.iterdir())) == 2 and read_variants(records)["int4"].family == "quantization"


def test_names_become_files_on_any_system(measured):
    measure, _, records = measured
    variant = measure("nf4 (4 bits, blocks)")
    assert [path.name for path in records.iterdir()] == [f"quantization-nf4-4-bits-blocks-{variant.start[:8]}.json"]


def test_a_file_that_is_no_record_is_named(measured):
    _, _, records = measured
    records.mkdir()
    (records / "quantization-x.json").write_text('{"name": "x"}', encoding="utf-8")
    with pytest.raises(ValueError, match="quantization-x.json: is no record of a variant"):
        read_variants(records)


def test_time_is_measured_for_each_prompt_without_the_first_use(tiny_tokenizer, dialogues):
    found = token_milliseconds(wide_model(tiny_tokenizer), tiny_tokenizer, dialogues[:3], tokens=4)
    assert len(found) == 3 and min(found) > 0


def test_a_model_that_is_warm_completes_no_prompt_twice(tiny_tokenizer, dialogues, monkeypatch):
    completed = []
    monkeypatch.setattr(
        variants, "generate_ids", lambda model, tokenizer, prompts, **_: [completed.extend(prompts) or [1]]
    )
    assert len(token_milliseconds(None, tiny_tokenizer, dialogues[:3], warm=True)) == 3 and completed == dialogues[:3]
    assert len(token_milliseconds(None, tiny_tokenizer, dialogues[:3])) == 3 and completed[3:] == [
        dialogues[0],
        *dialogues[:3],
    ]
