"""The way to pocket-t5: tokenizer, span corruption, batches, training that can be interrupted, and the whole build."""

import copy
import math
import random
import re
import unicodedata
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st

from pocket import build
from pocket.mixture import Example, corrupt_spans
from pocket.pretrain import (
    SHORT,
    Pretraining,
    Recipe,
    batches,
    encode,
    frugal_attention,
    loss_of,
    new_model,
    parameter_groups,
)
from pocket.tokenizer import build_tokenizer

# Old characters only: python and the tokenizer know different versions of Unicode's normalisation.
CHARACTERS = (
    st.characters(max_codepoint=0x24F)
    | st.characters(min_codepoint=0x370, max_codepoint=0x4FF, exclude_categories=("Cn",))
    | st.sampled_from("  \n\t\u2003\u3000ﬁ①Ａ½™…日本語\N{SNOWMAN}\N{GRINNING FACE}#:")
)
LENGTHS = st.tuples(st.integers(1, 150), st.integers(1, 40))
RECIPE = replace(Recipe.smoke(), d_model=16, d_ff=16, d_kv=8, pool_size=24, tokens_per_batch=1200)


@pytest.fixture
def one_thread():
    """For models this small, threads cost more than they give; on a busy machine they wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Copies:
    """A mixture of words to repeat, the same for the same seed."""

    def sample(self, count, seed, weights, whole):
        rng = random.Random(f"{seed}")
        texts = [
            " ".join(rng.choice(("cat", "kettle", "water", "harbour")) for _ in range(rng.randint(1, 9)))
            for _ in range(count)
        ]
        return [Example("copy", f"Repeat: {text}", text) for text in texts]


def pretraining(tokenizer, folder, recipe=RECIPE):
    pairs = encode(Copies().sample(8, "probe", {}, 1.0), tokenizer, recipe)
    probes = {"copy": list(batches(pairs, recipe.tokens_per_batch, random.Random(0)))}
    return Pretraining(recipe, Copies(), tokenizer, probes, folder)


@given(text=st.text(CHARACTERS, max_size=40))
def test_text_survives_the_way_to_tokens_and_back(tiny_tokenizer, text):
    ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tiny_tokenizer.unk_token_id not in ids
    expected = re.sub("[ \t]+", " ", unicodedata.normalize("NFKC", text)).removeprefix(" ")
    assert tiny_tokenizer.decode(ids) == expected


def test_what_the_vocabulary_lacks_is_spelled_in_bytes(tiny_tokenizer):
    pieces = tiny_tokenizer.tokenize("\N{SNOWMAN}")
    assert pieces[-3:] == ["<0xE2>", "<0x98>", "<0x83>"]
    assert (
        tiny_tokenizer.decode(tiny_tokenizer("a \N{SNOWMAN}!")["input_ids"], skip_special_tokens=True)
        == "a \N{SNOWMAN}!"
    )


def test_the_start_of_a_turn_is_one_token_and_newlines_are_kept(tiny_tokenizer, dialogues):
    pieces = tiny_tokenizer.tokenize(dialogues[0])
    assert pieces.count("\n#Person1#:") == 1 and pieces.count("\n#Person2#:") == 2
    assert tiny_tokenizer.decode(tiny_tokenizer("a\n\n\nb")["input_ids"], skip_special_tokens=True) == "a\n\n\nb"


def test_special_ids_are_those_of_t5(tiny_tokenizer):
    assert (tiny_tokenizer.pad_token_id, tiny_tokenizer.eos_token_id, tiny_tokenizer.unk_token_id) == (0, 1, 2)
    assert tiny_tokenizer("a")["input_ids"][-1] == 1 and len(tiny_tokenizer.tokenize("<extra_id_3>")) == 1


def put_back(text, spans):
    """The text with each sentinel replaced by the words that stand behind it in the target."""
    parts = re.split(r"(<extra_id_\d+>)", spans)[1:]
    for sentinel, words in zip(parts[::2], parts[1::2]):
        assert text.count(sentinel) == 1
        text = text.replace(sentinel, f" {words} ")
    assert "<extra_id" not in text
    return text


@given(
    words=st.lists(st.sampled_from(["cat", "sat", "on", "a", "mat", "\n", "#Person1#:"]), min_size=1, max_size=120),
    seed=st.integers(0, 1000),
)
def test_spans_put_back_give_the_text(words, seed):
    text, spans = corrupt_spans(words, random.Random(seed))
    assert put_back(text, spans).split() == [word for word in words if word != "\n"]


@given(count=st.integers(30, 200), seed=st.integers(0, 100))
def test_about_15_percent_of_the_words_are_removed_in_order(count, seed):
    text, spans = corrupt_spans([f"w{number}" for number in range(count)], random.Random(seed))
    removed = [int(word[1:]) for word in spans.split() if word.startswith("w")]
    sentinels = re.findall(r"<extra_id_\d+>", text)
    assert (
        removed == sorted(removed) and sentinels == re.findall(r"<extra_id_\d+>", spans) and 1 <= len(sentinels) <= 16
    )
    assert len(removed) <= 5 * (1 + count // 20) and len(set(sentinels)) == len(sentinels)


@given(lengths=st.lists(LENGTHS, max_size=40), tokens=st.integers(100, 4000))
def test_batches_hold_every_example_once_within_the_budget(lengths, tokens):
    pairs = [([3 + number] * prompt, [3 + number] * target) for number, (prompt, target) in enumerate(lengths)]
    found = []
    for inputs, mask, labels in batches(pairs, tokens, random.Random(0)):
        rows, width, height = *inputs.shape, labels.shape[1]
        assert mask.shape == inputs.shape and len(labels) == rows and width % 32 == 0 and height % 8 == 0
        assert rows <= 4 or rows * (width + 2 * height) <= tokens
        assert (inputs[mask == 0] == 0).all() and ((labels == -100) | (labels >= 3)).all()
        found += [
            (row[real.bool()].tolist(), wanted[wanted != -100].tolist())
            for row, real, wanted in zip(inputs, mask, labels)
        ]
    assert sorted(found) == sorted(pairs)


def test_batches_come_in_the_order_of_their_seed():
    pairs = [([3] * (10 * number + 1), [4]) for number in range(40)]
    shapes = [[tuple(batch[0].shape) for batch in batches(pairs, 600, random.Random(seed))] for seed in (1, 1, 2)]
    assert shapes[0] == shapes[1] != shapes[2]


def test_examples_too_long_are_left_out(tiny_tokenizer):
    examples = [Example("copy", "cat " * 20, "cat"), Example("copy", "cat", "cat " * 20), Example("copy", "cat", "cat")]
    assert len(encode(examples, tiny_tokenizer, replace(RECIPE, window=10, longest_target=10))) == 1


def test_padding_changes_no_loss(tiny_tokenizer):
    model = new_model(RECIPE, tiny_tokenizer)
    inputs, mask, labels = torch.tensor([[5, 6, 1]]), torch.ones(1, 3, dtype=torch.long), torch.tensor([[7, 1]])
    padded = (
        torch.nn.functional.pad(inputs, (0, 5)),
        torch.nn.functional.pad(mask, (0, 5)),
        torch.nn.functional.pad(labels, (0, 6), value=-100),
    )
    with torch.no_grad():
        torch.testing.assert_close(loss_of(model, padded), loss_of(model, (inputs, mask, labels)), atol=1e-4, rtol=1e-4)


def test_every_weight_is_in_one_group_and_queries_learn_slowly(tiny_tokenizer):
    model = new_model(RECIPE, tiny_tokenizer)
    groups = parameter_groups(model, 1.0)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert [group["lr"] for group in groups] == [0.15, 3.0, 1.0]
    assert len(groups[0]["params"]) == sum(name.endswith(".q.weight") for name, _ in model.named_parameters()) > 0


def test_the_rate_warms_up_and_falls_to_a_fiftieth(tiny_tokenizer, tmp_path):
    run = pretraining(tiny_tokenizer, tmp_path, replace(RECIPE, warmup_steps=10))

    def rate(position, steps=1000):
        run.steps = steps
        run._set_rate(position)
        return run.optimizer.param_groups[2]["lr"] / RECIPE.learning_rate

    assert rate(0, steps=4) == pytest.approx(1.0) and rate(0) == pytest.approx(2.0)
    assert rate(RECIPE.easy_pools) == pytest.approx(1.0) and rate(RECIPE.pools - 0.001) == pytest.approx(0.02)
    refined = RECIPE.pools + RECIPE.refining_pools
    assert rate(RECIPE.pools) == pytest.approx(0.5) and rate(refined - 0.001) == pytest.approx(0.02)
    assert rate(refined) == pytest.approx(0.5) and rate(refined + RECIPE.polishing_pools[0] - 0.001) == pytest.approx(
        0.02
    )
    assert rate(refined + RECIPE.polishing_pools[0]) == pytest.approx(0.5) and rate(
        RECIPE.total_pools
    ) == pytest.approx(0.02)


def test_training_lowers_the_loss(tiny_tokenizer, tmp_path, one_thread):
    run = pretraining(tiny_tokenizer, tmp_path, replace(RECIPE, warmup_steps=1, learning_rate=1e-2))
    before = run.probe()["copy"]
    model = run.run()
    assert run.log[-1]["copy"] < before - 0.5 and not model.training
    assert [entry["pool"] for entry in run.log] == list(range(1, RECIPE.total_pools + 1))


def test_an_interrupted_run_ends_with_the_same_weights(tiny_tokenizer, tmp_path, monkeypatch, one_thread):
    whole = pretraining(tiny_tokenizer, tmp_path / "whole")
    whole.run()
    train_pool = Pretraining._train_pool

    def interrupted(run, number):
        if number == 2:
            raise KeyboardInterrupt
        return train_pool(run, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Pretraining, "_train_pool", interrupted)
        pretraining(tiny_tokenizer, tmp_path / "parts").run()
    torch.manual_seed(99)  # the second start may find any state of the global random stream
    second = pretraining(tiny_tokenizer, tmp_path / "parts")
    assert second.resume() == 2
    second.run()
    assert (second.steps, second.tokens) == (whole.steps, whole.tokens)
    for (name, ours), (_, theirs) in zip(second.model.state_dict().items(), whole.model.state_dict().items()):
        assert torch.equal(ours, theirs), name
    timeless = [
        [{key: value for key, value in entry.items() if key != "seconds"} for entry in run.log]
        for run in (second, whole)
    ]
    assert timeless[0] == timeless[1]


def test_a_checkpoint_of_another_recipe_or_of_other_texts_is_refused(tiny_tokenizer, tmp_path):
    pretraining(tiny_tokenizer, tmp_path)._save()
    other_texts = build_tokenizer(
        ["The harbour lies behind the water.", "Repeat: cat kettle"], vocab_size=400, model_max_length=128
    )
    for other in (pretraining(tiny_tokenizer, tmp_path, replace(RECIPE, seed=21)), pretraining(other_texts, tmp_path)):
        with pytest.raises(ValueError, match="checkpoint.pt belongs to another recipe or to other texts; delete it"):
            other.resume()


def test_write_lines_leaves_no_half_file(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    build.write_lines(path, [{"text": "é\n"}, {"text": "b"}])
    assert path.read_bytes() == '{"text": "é\\n"}\n{"text": "b"}\n'.encode()

    def broken():
        yield {"text": "a"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.write_lines(path, broken())
    assert path.read_bytes().count(b"\n") == 2


def test_checksums_list_everything_but_themselves(tmp_path):
    for name in ("data/train.jsonl", "model/config.json", "tasks.jsonl", "checksums.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    found = build.checksums(tmp_path)
    assert list(found) == ["data/train.jsonl", "model/config.json", "tasks.jsonl"] and len(set(found.values())) == 1


def test_the_smoke_build_goes_the_whole_way(capsys, one_thread):
    build.main(["--smoke"])
    made = int(re.search(r"smoke build: (\d+) files made", capsys.readouterr().out)[1])
    assert made >= 10  # four splits, tasks, tokenizer, weights, configuration, two cards


def test_the_fused_attention_is_the_stock_one_and_positions_learn_from_short_inputs_only(
    tiny_model, tiny_tokenizer, dialogues, monkeypatch
):
    batch = tiny_tokenizer(dialogues, return_tensors="pt", padding=True)
    batch["labels"] = batch["input_ids"][:, :8].clone()
    losses, positions = {}, {}
    for name, limit, short in (("sdpa", 0, 0), ("frugal", 10_000, 10_000), ("frugal", math.inf, 4), ("frugal", 4, 4)):
        monkeypatch.setattr("pocket.pretrain.SHORT", short)
        monkeypatch.setattr(frugal_attention, "learns_from", limit)
        model = copy.deepcopy(tiny_model)
        model.set_attn_implementation(name)
        loss = model(**batch).loss
        loss.backward()
        losses[name, limit] = loss.item()
        positions[name, limit] = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.grad
    assert list(losses.values()) == pytest.approx([losses["sdpa", 0]] * 4, abs=1e-5)
    assert all(
        torch.allclose(positions["frugal", limit], positions["sdpa", 0], atol=1e-5) for limit in (10_000, math.inf)
    )
    assert positions["frugal", 4] is None


def test_long_inputs_teach_positions_in_every_third_batch_of_the_last_pools(tiny_tokenizer, tmp_path, monkeypatch):
    run, limits = pretraining(tiny_tokenizer, tmp_path, replace(RECIPE, long_positions_from=1)), []

    def loss(model, batch):
        limits.append(frugal_attention.learns_from)
        return loss_of(model, batch)

    monkeypatch.setattr("pocket.pretrain.loss_of", loss)
    run._train_pool(0)
    assert set(limits) == {SHORT} and len(limits) > 3
    limits.clear()
    run._train_pool(1)
    assert all((limit == math.inf) == (place % 3 == 0) for place, limit in enumerate(limits)) and len(limits) > 3
