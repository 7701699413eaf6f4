"""The real model on the real data: what others have published about FLAN-T5-small and DialogSum still comes out here.

These tests fetch hundreds of megabytes from the model hub, and run where KIT_HUB_TESTS=1 asks for them. The pinned
numbers are other people's, so that a fault of the kit cannot hide in them; each names where it stands.
"""

import os

import pytest

from helpers.data.loading import load_dialogues
from helpers.data.pairs import encode_pairs, summary_pairs
from helpers.evaluation.experiments import run_condition
from helpers.evaluation.statistics import mean_interval, paired_difference
from helpers.models.generation import generate
from helpers.models.loading import load_seq2seq
from helpers.models.sizes import count_parameters
from helpers.settings import load_settings, seed_everything
from helpers.training.finetuning_methods import lora
from helpers.training.trainer import train

pytestmark = [
    pytest.mark.hub,
    pytest.mark.skipif(os.environ.get("KIT_HUB_TESTS") != "1", reason="fetches from the hub; set KIT_HUB_TESTS=1"),
]

# The model's page in the documentation of transformers; 20 decoder positions, the start token among them.
RECIPE = (
    "A step by step recipe to make bolognese pasta:",
    "Pour a cup of bolognese into a large bowl and add the pasta",
)
PARAMETERS = 76_961_152
DIALOGUES = {
    "train": 12_460,
    "validation": 500,
    "test": 500,
}  # Chen et al. 2021, table 1; three references for each of the test
# ROUGE-1, best of three references. FLAN-T5-base reaches 0.23 against one of them without an example, the fine-tuned
# small model 0.37 (both published).
ZERO_SHOT, FINE_TUNED = (0.15, 0.40), (0.25, 0.60)
STEPS = 100


@pytest.fixture(scope="module")
def settings():
    found = load_settings("small")
    seed_everything(found)
    return found


@pytest.fixture(scope="module")
def loaded(settings):
    return load_seq2seq(settings)


@pytest.fixture(scope="module")
def data(settings):
    return load_dialogues(settings)


@pytest.fixture(scope="module")
def zero_shot(loaded, data, settings):
    tokenizer, model = loaded
    return run_condition("zero-shot", model, tokenizer, settings, list(data["test"])[: settings.test_rows])


def test_the_model_is_whole_and_says_what_its_documentation_says(loaded):
    tokenizer, model = loaded
    prompt, completion = RECIPE
    assert count_parameters(model).total == PARAMETERS
    assert generate(model, tokenizer, [prompt], max_new_tokens=19, show_progress=False) == [completion]


def test_the_data_are_complete(data):
    assert {split: len(data[split]) for split in DIALOGUES} == DIALOGUES
    assert {len(row["summaries"]) for row in data["test"]} == {3}


def test_zero_shot_rouge_is_where_others_found_it(zero_shot):
    found = mean_interval(zero_shot.per_dialogue("rouge1"))
    assert ZERO_SHOT[0] < found.low and found.high < ZERO_SHOT[1], f"ROUGE-1 {found}"


def test_lora_teaches_it_the_summaries(loaded, data, settings, zero_shot, tmp_path):
    tokenizer, model = loaded
    pairs, validation = (
        encode_pairs(
            *summary_pairs(list(data[split])[:rows]), tokenizer, settings.max_prompt_tokens, settings.max_new_tokens
        )
        for split, rows in (("train", STEPS * settings.batch_size), ("validation", 50))
    )
    run = train(
        model, tokenizer, pairs, validation, lora(learning_rate=1e-3), settings, tmp_path, steps=STEPS, evaluations=2
    )
    trained = run_condition("lora", run.model, tokenizer, settings, list(data["test"])[: settings.test_rows])
    found = mean_interval(trained.per_dialogue("rouge1"))
    gain = paired_difference(trained.per_dialogue("rouge1"), zero_shot.per_dialogue("rouge1"))
    assert gain.low > 0, f"ROUGE-1 LoRA − zero-shot: {gain}"
    assert FINE_TUNED[0] < found.low and found.high < FINE_TUNED[1], f"ROUGE-1 {found}"
