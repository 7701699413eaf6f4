"""Records of variants: measured from the file, read again instead of measured, common to all labs."""

import numpy as np
import pytest

from helpers.compression import variants
from helpers.compression.compressed_files import file_bytes, save_compressed
from helpers.compression.quantized_models import low_bits, quantized
from helpers.compression.variants import measure_variant, read_variants, token_milliseconds
from helpers.runs import fingerprint
from helpers.training.methods import adapt, lora
from tests.quantization_cases import wide_model
from tests.training_cases import tiny_settings


@pytest.fixture(scope="module")
def rows(dialogues, summaries):
    return [{"id": str(number), "dialogue": dialogue, "summaries": [summary], "summary": summary}
            for number, (dialogue, summary) in enumerate(zip(dialogues, summaries))]


@pytest.fixture
def measured(tiny_tokenizer, rows, tmp_path):
    model = wide_model(tiny_tokenizer)
    folder = save_compressed(quantized(model, low_bits(4)), tiny_tokenizer, tmp_path / "int4")

    def measure(name="int4", family="quantization", **options):
        return measure_variant(name, family, folder, fingerprint(model), rows, tiny_settings(), tmp_path / "records", **options)
    return measure, folder, tmp_path / "records"


def test_a_variant_is_measured_from_its_file(measured, rows):
    measure, folder, _ = measured
    variant = measure()
    assert variant.file_bytes == file_bytes(folder) and variant.load_seconds > 0 and len(variant.milliseconds) == len(rows)
    assert {metric: len(values) for metric, values in variant.scores.items()}["rouge1"] == len(rows)
    assert variant.quality().estimate == pytest.approx(np.mean(variant.scores["rouge1"])) and variant.latency().low > 0


def test_a_record_is_read_instead_of_measuring_and_measured_again_for_another_file(measured, tiny_tokenizer, monkeypatch):
    measure, folder, _ = measured
    first = measure()
    monkeypatch.setattr(variants, "_first_use", lambda *_: pytest.fail("measured although there is a record"))
    assert measure() == first
    save_compressed(quantized(wide_model(tiny_tokenizer), low_bits(4)), tiny_tokenizer, folder)      # once more: the same weights, not the same bytes
    assert measure() == first
    save_compressed(wide_model(tiny_tokenizer, seed=1), tiny_tokenizer, folder)
    with pytest.raises(pytest.fail.Exception, match="although there is a record"):
        measure()


def test_an_adapter_counts_as_part_of_the_file(measured, tiny_tokenizer):
    measure, folder, _ = measured
    alone, model = measure(), wide_model(tiny_tokenizer)
    save_compressed(adapt(model, lora(4)), tiny_tokenizer, folder)
    first = measure("lora")
    assert first.file_bytes == file_bytes(folder) > file_bytes(save_compressed(model, tiny_tokenizer, folder.parent / "base")) and first.held_bytes > alone.held_bytes
    save_compressed(adapt(model, lora(4), seed=1), tiny_tokenizer, folder)
    assert measure("lora").identity != first.identity


def test_records_of_all_labs_are_read_those_of_other_models_only_if_asked(measured):
    measure, _, records = measured
    variant = measure()
    measure("student", "distillation")
    assert list(read_variants(records)) == ["int4", "student"] and read_variants(records, variant.start)["int4"] == variant
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
    monkeypatch.setattr(variants, "generate_ids", lambda model, tokenizer, prompts, **_: [completed.extend(prompts) or [1]])
    assert len(token_milliseconds(None, tiny_tokenizer, dialogues[:3], warm=True)) == 3 and completed == dialogues[:3]
    assert len(token_milliseconds(None, tiny_tokenizer, dialogues[:3])) == 3 and completed[3:] == [dialogues[0], *dialogues[:3]]
