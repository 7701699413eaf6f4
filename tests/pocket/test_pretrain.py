"""The way to pocket-t5: tokenizer, span corruption, batches, training that can be interrupted, and the whole build."""

import random
import re
import unicodedata
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st

from pocket import build
from pocket.mixture import Example, corrupt_spans
from pocket.pretrain import HEIGHTS, WIDTHS, Pretraining, Recipe, batches, encode, new_model, parameter_groups
from pocket.t5_pass import t5_loss
from pocket.tokenizer import build_tokenizer, whole_words

# Old characters only: python and the tokenizer know different versions of Unicode's normalisation.
CHARACTERS = (
    st.characters(max_codepoint=0x24F)
    | st.characters(min_codepoint=0x370, max_codepoint=0x4FF, exclude_categories=("Cn",))
    | st.sampled_from("  \n\t\u2003\u3000ﬁ①Ａ½™…日本語\N{SNOWMAN}\N{GRINNING FACE}#:")
)
LENGTHS = st.tuples(st.integers(1, 960), st.integers(1, 72))
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
    pairs = encode(Copies().sample(8, "probe", {}, 1.0), tokenizer)
    probes = {"copy": batches(pairs, recipe.tokens_per_batch, random.Random(0))}
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
def test_batches_are_full_of_few_shapes_and_hold_every_example(lengths, tokens):
    pairs = [([3 + number] * prompt, [3 + number] * target) for number, (prompt, target) in enumerate(lengths)]
    found = []
    for inputs, mask, labels in batches(pairs, tokens, random.Random(0)):
        rows, width, height = *inputs.shape, labels.shape[1]
        assert mask.shape == inputs.shape and len(labels) == rows and width in WIDTHS and height in HEIGHTS
        assert rows % 4 == 0 and (rows == 4 or rows * (width + 2 * height) <= tokens)
        assert mask.sum(1).min() > 0 and (inputs[mask == 0] == 0).all() and ((labels == -100) | (labels >= 3)).all()
        found += [
            (tuple(row[real.bool()].tolist()), tuple(wanted[wanted != -100].tolist()))
            for row, real, wanted in zip(inputs, mask, labels)
        ]
    assert set(found) == {(tuple(prompt), tuple(target)) for prompt, target in pairs}


def test_an_example_is_repeated_only_to_fill_the_last_batch_of_a_height():
    pairs = [([3 + number] * 30, [4]) for number in range(50)] + [([99] * 90, [4])]
    made = batches(pairs, 32 * 64, random.Random(0))
    seen = [int(row[0]) for inputs, _, _ in made for row in inputs]
    assert set(seen) == {*range(3, 53), 99} and len(seen) - 51 < max(len(inputs) for inputs, _, _ in made)


def test_batches_come_in_the_order_of_their_seed():
    pairs = [([3] * (20 * number + 1), [4]) for number in range(40)]
    shapes = [[tuple(batch[0].shape) for batch in batches(pairs, 600, random.Random(seed))] for seed in (1, 1, 2)]
    assert shapes[0] == shapes[1] != shapes[2]


def test_examples_too_long_are_left_out(tiny_tokenizer):
    long = "cat " * 1200
    examples = [Example("copy", long, "cat"), Example("copy", "cat", long), Example("copy", "cat", "cat")]
    assert len(encode(examples, tiny_tokenizer)) == 1


@pytest.mark.parametrize("teach_positions", [True, False])
def test_the_pass_is_the_loss_of_the_model_and_so_are_its_gradients(tiny_tokenizer, teach_positions):
    model = new_model(RECIPE, tiny_tokenizer)
    pairs = [([5, 6, 9, 1], [7, 8, 1]), ([5, 1], [7, 1])]
    inputs, mask, labels = batches(pairs, 64, random.Random(0))[0]
    stock = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
    wanted = torch.autograd.grad(stock, list(model.parameters()))
    ours = t5_loss(dict(model.named_parameters()), inputs, mask, labels, model.config, teach_positions)
    found = torch.autograd.grad(ours, list(model.parameters()), allow_unused=True)
    assert ours.item() == pytest.approx(stock.item(), abs=1e-5)
    for (name, _), ours, theirs in zip(model.named_parameters(), found, wanted):
        if not teach_positions and name.startswith("encoder") and "relative" in name:
            assert ours is None
        else:
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4, msg=name)


def test_whole_words_are_one_token_and_others_fall_into_pieces():
    words = ["Tuesday", "kettle", "ox", "half-eaten"]
    tokenizer = build_tokenizer([*words, "The harbour is cold, the water too."], 420, 64, words)
    for word in words:
        assert tokenizer.tokenize(word) == [f"▁{word}"] and tokenizer.tokenize(f"a {word}'s")[-2:] == [f"▁{word}", "'s"]
    assert sorted(whole_words(tokenizer)) == sorted(words) and len(tokenizer.tokenize("Wednesday")) > 1
    assert (
        tokenizer.decode(tokenizer("kettles, Tuesday!")["input_ids"], skip_special_tokens=True) == "kettles, Tuesday!"
    )


def test_every_weight_is_in_one_group_and_queries_learn_slowly(tiny_tokenizer):
    model = new_model(RECIPE, tiny_tokenizer)
    matrices, vectors = parameter_groups(dict(model.named_parameters()), RECIPE)
    assert sum(len(group["params"]) for group in matrices + vectors) == len(list(model.parameters()))
    assert all(weight.ndim == 2 for group in matrices for weight in group["params"])
    assert len(matrices[0]["params"]) == sum(name.endswith(".q.weight") for name, _ in model.named_parameters())
    assert matrices[0]["lr"] < matrices[1]["lr"] == RECIPE.matrix_rate
    assert vectors[0]["lr"] > vectors[1]["lr"] == RECIPE.vector_rate


def test_the_rate_warms_up_and_falls_to_a_fiftieth(tiny_tokenizer, tmp_path):
    run = pretraining(tiny_tokenizer, tmp_path, replace(RECIPE, warmup_steps=10, constant=0.5))

    def rate(position, steps=1000):
        run.steps = steps
        run._set_rate(position)
        shares = [group["lr"] / group["highest"] for optimizer in run.optimizers for group in optimizer.param_groups]
        assert len(shares) == 4 and max(shares) == pytest.approx(min(shares))
        return shares[0]

    assert rate(0, steps=4) == pytest.approx(0.5) and rate(0) == rate(RECIPE.total_pools / 2) == pytest.approx(1.0)
    assert rate(0.75 * RECIPE.total_pools) == pytest.approx(0.5) and rate(RECIPE.total_pools) == pytest.approx(0.02)


def test_training_lowers_the_loss(tiny_tokenizer, tmp_path, one_thread):
    run = pretraining(tiny_tokenizer, tmp_path, replace(RECIPE, warmup_steps=1, constant=0.9))
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
    for name in ("data/train.jsonl", "model/config.json", "tasks.jsonl", "world.json", "checksums.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    found = build.checksums(tmp_path)
    assert (
        list(found) == ["data/train.jsonl", "model/config.json", "tasks.jsonl", "world.json"]
        and len(set(found.values())) == 1
    )


def test_the_smoke_build_goes_the_whole_way(capsys, one_thread):
    build.main(["--smoke"])
    made = int(re.search(r"smoke build: (\d+) files made", capsys.readouterr().out)[1])
    assert made >= 10  # four splits, tasks, tokenizer, weights, configuration, two cards
