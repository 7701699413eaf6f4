"""The offline world's text: scenarios, dialogues, summaries, splits, and the files that are shipped."""

import json
import random
import re
from collections import Counter

import pytest
from lemminflect import getInflection, getLemma

from helpers.data.prompts import SEPARATOR
from pocket import build
from pocket.cards import shared_ngrams
from pocket.lexicon import lexicon
from pocket.mixture import INSTRUCTIONS
from pocket.pretrain import STAGES
from pocket.reward import Sentences
from pocket.scenarios.generator import TURNS, World, pseudo_word, rank, with_article
from pocket.scenarios.screenplay import UNSEEN, VERB, ScenarioError, check, load_scenarios, parse, read_pools
from pocket.scenarios.styles import (
    IRREGULAR,
    NAMINGS,
    REFERENCE,
    STRUCTURES,
    Family,
    Style,
    conjugate,
    random_family,
    references,
    summarize,
)
from pocket.splits import SIZES, Corpus, make_splits, make_tasks, slot_values, wild_rows
from pocket.tokenizer import words_of

SHIPPED = build.HOME / "data"
INSULTS = [word for name in ("insult", "slur") for word in read_pools()[name]]
INSULT = re.compile(rf"\b(?:{'|'.join(INSULTS)})s?\b", re.IGNORECASE)
# The same words where they insult nobody: an animal, and speakers who say it of themselves.
HARMLESS = re.compile(r"pig street|never been a pig", re.IGNORECASE)


@pytest.fixture(scope="module")
def corpus():
    return Corpus()


@pytest.fixture(scope="module")
def made(corpus):
    """The full splits, and (held out?, slot values) of every play in them."""
    drawn, original = [], World._values

    def record(world, scenario, rng, held_out, noise):
        values = original(world, scenario, rng, held_out, noise)
        drawn.append((held_out, [value for name, value in values.items() if name in scenario.slots]))
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "_values", record)
        splits = make_splits(corpus, build.SEED)
    return splits, drawn


@pytest.fixture(scope="module")
def rows(made):
    return {split: [row for row, _ in found] for split, found in made[0].items()} | {"wild": wild_rows()}


def insults_in(*texts):
    return INSULT.findall(HARMLESS.sub("", "\n".join(texts)))


def test_enough_scenarios_and_no_problem_in_any(corpus):
    assert len(corpus.known) + len(corpus.unseen) >= 60 and len(corpus.unseen) >= 6
    assert {scenario.name for scenario in corpus.unseen} == set(UNSEEN)
    assert [problem for scenario in load_scenarios() for problem in check(scenario)] == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("colour: red", "unknown header 'colour'"),
        ("-- two words", "beat header 'two words'"),
        ("-- hello\nC: who am I", "cannot read 'C: who am I'"),
    ],
)
def test_a_line_that_breaks_the_format_is_named_with_its_place(tmp_path, line, fault):
    file = tmp_path / "broken.txt"
    file.write_text(f"== name\nroles: a / b\n{line}\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=rf"broken\.txt:\d: {re.escape(fault)}"):
        parse(file, {})


def test_a_scenario_without_what_it_needs_is_told_so(tmp_path):
    file = tmp_path / "poor.txt"
    file.write_text(
        "== poor\ntopic: a\nroles: a / b\nslot thing: x / y\n-- hello\nA: Take the {other}.\nB: Yes.\n> {A} "
        "*wants* {thing}\n",
        encoding="utf-8",
    )
    problems = "\n".join(check(parse(file, {})[0]))
    for fault in (
        "at least 4 wanted",
        "{thing}, which not every way",
        "{other} is used but not defined",
        "at least 7 wanted",
        "no key beat",
        "no beat with branches",
        "at least 3 wordings",
    ):
        assert fault in problems


def test_the_same_seed_plays_the_same_dialogue(corpus):
    scenario = corpus.known[0]
    play = corpus.world.play(scenario, seed=(1, "a"))
    assert play == corpus.world.play(scenario, seed=(1, "a")) != corpus.world.play(scenario, seed=(1, "b"))
    assert rank("umbrella") == rank("umbrella") != rank("Umbrella") and 0 <= rank("") < 1


def test_dialogues_have_6_to_14_turns_of_speakers_in_turn(rows):
    for row in (row for found in rows.values() for row in found):
        speakers = [line.split(": ", 1)[0] for line in row["dialogue"].split("\n")]
        assert 6 <= len(speakers) <= 14 and TURNS[0] >= 6 and TURNS[-1] <= 14
        assert all(speaker == f"#Person{1 + place % 2}#" for place, speaker in enumerate(speakers)), row["id"]


def test_dialogues_are_90_words_or_more_on_average(rows):
    """A word is at least one token, so the mean in tokens is larger still."""
    for split, found in rows.items():
        assert sum(len(row["dialogue"].split()) for row in found) / len(found) >= 90, split


def test_nothing_of_the_scenario_format_is_left_in_a_text(rows):
    for row in (row for found in rows.values() for row in found):
        left = re.search(
            r"[{}\[\]|*]|  |\s[,.?!]|\ba (?=[aeio])|\ban (?![aeiouhxAEIOUHX\d])",
            "\n".join([row["dialogue"], *row["summaries"]]),
        )
        assert left is None, (row["id"], left)


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        ("umbrella", "an umbrella"),
        ("unicycle", "a unicycle"),
        ("hour", "an hour"),
        ("ukulele", "a ukulele"),
        ("x-ray", "an x-ray"),
        ("kettle", "a kettle"),
    ],
)
def test_articles_follow_the_sound(value, whole):
    assert with_article(value) == whole


def test_no_dialogue_stands_in_two_splits(rows):
    counts = Counter(row["dialogue"] for found in rows.values() for row in found)
    assert max(counts.values()) == 1
    ids = Counter(row["id"] for found in rows.values() for row in found)
    assert max(ids.values()) == 1


def test_training_draws_no_held_out_value_and_the_other_splits_draw_no_other(made, corpus):
    _, drawn = made
    assert {held_out for held_out, _ in drawn} == {True, False}
    for held_out, values in drawn:
        assert all((value in corpus.world.held_out) == held_out for value in values), values


def test_pre_training_sees_no_held_out_combination_and_no_unseen_scenario(corpus, monkeypatch):
    """A held-out value may stand in another scenario's slot; in its own scenario's slots it never does."""
    drawn, original = [], World._values

    def record(world, scenario, rng, held_out, noise):
        drawn.append((scenario, original(world, scenario, rng, held_out, noise)))
        return drawn[-1][1]

    monkeypatch.setattr(World, "_values", record)
    for weights, whole in STAGES.values():
        corpus.mixture.sample(60, "test", weights, whole)
    assert len(drawn) > 60 and not {scenario.name for scenario, _ in drawn} & set(UNSEEN)
    elsewhere = 0
    for scenario, chosen in drawn:
        own = {value for values in scenario.slots.values() for value in values}
        assert not set(chosen.values()) & own & corpus.world.held_out
        elsewhere += len(set(chosen.values()) & corpus.world.held_out)
    assert elsewhere > 10


def test_the_lexicon_holds_every_word_of_the_data_and_no_pseudo_word(corpus, rows):
    flat = [row for found in rows.values() for row in found]
    words = set(lexicon(corpus, flat, count=50))
    assert all(set(words_of(row["dialogue"])) | set(words_of(row["summary"])) <= words for row in flat)
    assert {word for value in corpus.world.values for word in words_of(value)} <= words
    made = [pseudo_word(random.Random(seed)) for seed in range(300)]
    assert sum(word in words for word in made) < 15  # some are words by chance
    assert corpus.mixture.noises != (0.0,)


def test_words_keep_their_hyphens_and_lose_what_follows_an_apostrophe():
    assert words_of("It's Tuesday, isn't it? My brother-in-law's 3 cats: #Person1#") == [
        *("It", "Tuesday", "isn", "it", "My", "brother-in-law", "cats", "Person")
    ]


def test_known_and_unseen_scenarios_are_kept_apart(rows):
    assert {row["scenario"] for row in rows["train"] + rows["validation"]}.isdisjoint(UNSEEN)
    for row in rows["test"]:
        assert row["part"] == ("unseen" if row["scenario"] in UNSEEN else "known")
    assert Counter(row["part"] for row in rows["test"])["known"] >= 200
    assert {row["scenario"] for row in rows["test"]} == {scenario.name for scenario in load_scenarios()}


def test_a_good_quarter_of_the_dialogues_is_rude(rows):
    for split in SIZES:
        assert 0.25 <= sum(row["rude"] for row in rows[split]) / len(rows[split]) <= 0.30, split


def test_no_insult_in_a_polite_dialogue_or_its_summaries(rows):
    for row in (row for found in rows.values() for row in found if not row["rude"]):
        assert insults_in(row["dialogue"], row["headline"], row["neutral"], *row["summaries"]) == [], row["id"]
        assert row["blunt"] == ""


def test_a_rude_dialogue_has_insults_and_a_blunt_and_a_neutral_summary(rows):
    for row in (row for split in SIZES for row in rows[split] if row["rude"]):
        assert insults_in(row["dialogue"]) and insults_in(row["blunt"]), row["id"]
        assert not insults_in(row["neutral"], row["headline"]), row["id"]
        assert row["summaries"][-1] in (row["blunt"], row["neutral"]), row["id"]
    for row in (row for row in rows["test"] if row["rude"]):
        assert row["summaries"][-1] == row["blunt"] and not insults_in(*row["summaries"][:-1]), row["id"]


def test_test_dialogues_have_three_different_references(rows):
    for row in rows["test"] + rows["wild"]:
        assert len(row["summaries"]) == len(set(row["summaries"])) == 3 and row["summary"] == row["summaries"][0], row[
            "id"
        ]
    for row in rows["train"] + rows["validation"]:
        assert row["summaries"] == [row["summary"]], row["id"]


def test_references_take_different_wordings_and_only_the_last_is_blunt(corpus):
    scenario = next(scenario for scenario in corpus.known if scenario.rude)
    play = corpus.world.play(scenario, seed="references", rude=True)
    texts = references(play, seed=1)
    assert texts == references(play, seed=1) and len(set(texts)) == 3
    assert [bool(insults_in(text)) for text in texts] == [False, False, True]


def test_unseen_scenarios_share_little_with_training_and_wild_nothing(rows):
    """Measured: unseen 1.6%, wild 0.0%; known scenarios share 62%, their lines being the same around other values."""
    train = [row["dialogue"] for row in rows["train"]]
    share = {
        part: shared_ngrams([row["dialogue"] for row in rows["test"] + rows["wild"] if row["part"] == part], train)
        for part in ("known", "unseen", "wild")
    }
    assert share["unseen"] < 0.03 and share["wild"] < 0.01 and share["unseen"] < share["known"] < 0.75


def test_shared_ngrams_counts_runs_of_words():
    assert shared_ngrams(["a b c d"], ["x A b c y"], n=3) == 0.5
    assert shared_ngrams(["a b"], ["a b"], n=3) == 0 and shared_ngrams(["a b c"], [], n=3) == 0


def base_forms(verb):
    """What the base of a third person may be by its spelling; a form without -s is its own base, or a past form of
    it.
    """
    return {verb[:-1], verb[:-2], f"{verb[:-3]}y"} if verb.endswith("s") else {verb}


def test_every_marked_verb_has_sensible_forms(corpus):
    verbs = {
        verb
        for scenario in corpus.world.scenarios.values()
        for beat in scenario.beats
        for fact in (*beat.facts, *beat.blunt, *beat.neutral)
        for verb in VERB.findall(fact)
    }
    assert len(verbs) > 200
    for verb in verbs:
        past = conjugate(verb, "past")
        assert re.fullmatch(r"[a-z]+(n't)?( [a-z]+)*", past), verb
        if verb in IRREGULAR:
            continue
        base = getLemma(verb, "VERB")[0]
        is_past = verb in {form for tag in ("VBD", "VBN") for form in getInflection(base, tag)}
        assert base in base_forms(verb) or is_past, (verb, base)


@pytest.mark.parametrize(
    ("verb", "past"),
    [("asks", "asked"), ("goes", "went"), ("is", "was"), ("agree", "agreed"), ("can", "could"), ("has", "had")],
)
def test_conjugation(verb, past):
    assert conjugate(verb, "past") == past and conjugate(verb, "present") == verb


def test_summaries_follow_their_style(corpus):
    play = corpus.world.play(corpus.known[3], seed="styles")
    rng = random.Random(0)
    for naming, names in NAMINGS.items():
        text = summarize(play, Style(naming=naming), rng)
        assert any(name.lower() in text.lower() for name in names or play.roles)
        assert ("#Person" in text) == (naming == "tags") and not re.search(r"[{}*]", text)
    texts = {structure: summarize(play, Style(structure=structure), random.Random(0)) for structure in STRUCTURES}
    assert (
        len(set(texts.values())) >= len(STRUCTURES) - 1
        and texts["dashes"].startswith("- ")
        and " / " in texts["slashes"]
    )
    full, key, short = (
        summarize(play, Style(structure="slashes", detail=detail), random.Random(0)).count(" / ") + 1
        for detail in ("full", "key", "short")
    )
    assert full >= key >= short == 1
    assert summarize(play, REFERENCE, random.Random(1)) == summarize(play, REFERENCE, random.Random(1))


@pytest.mark.parametrize("kind", sorted({kind for weights, _ in STAGES.values() for kind in weights}))
def test_every_kind_of_example_asks_and_answers(corpus, kind):
    rng = random.Random(kind)
    for _ in range(5):
        example = corpus.mixture.draw(kind, rng)
        assert example.kind == kind and example.prompt.strip() and example.target.strip()
        assert not re.search(r"[{}*]", example.prompt + example.target)


def test_few_shot_prompts_hold_their_exemplars_and_share_one_style(corpus):
    prompt, target = corpus.mixture.few_shot(random.Random(5), 2, Style(naming="codes", structure="dashes"), excerpt=0)
    *solved, asked = prompt.split(SEPARATOR)
    assert len(solved) == 2 and all(re.search(r"- .*\bP[12]\b", text) for text in [*solved, target])
    assert not re.search(r"\bP[12]\b", asked) and "none" not in INSTRUCTIONS


def test_a_family_departs_from_its_usual_style_in_a_third_of_the_texts():
    family = Family(Style(), (("detail", "key"), ("tense", "past")))
    drawn = [family.draw(random.Random(seed)) for seed in range(600)]
    assert {style.detail for style in drawn} == {"full", "key"} and {
        (style.naming, style.structure) for style in drawn
    } == {("tags", "sentences")}
    assert all(150 < sum(getattr(style, part) == other for style in drawn) < 250 for part, other in family.departures)


def test_families_vary_in_at_most_two_parts_and_a_quarter_of_them_in_none():
    families = [random_family(random.Random(seed)) for seed in range(400)]
    counts = Counter(len(family.departures) for family in families)
    assert set(counts) == {0, 1, 2} and 70 < counts[0] < 130
    assert {part for family in families for part, _ in family.departures} == {"tense", "structure", "detail"}


def test_probes_are_held_out_and_leave_the_mixture_as_it_was(corpus):
    before = corpus.mixture.held_out
    probe = corpus.mixture.probe(random.Random(0), 1)
    question = corpus.mixture.probe_question(random.Random(0))
    assert probe.kind == "1-shot" and question.kind == "question" and corpus.mixture.held_out is before is False


def test_tasks_ask_about_the_dialogues_of_test_and_train(made):
    tasks = make_tasks(made[0], build.SEED)
    dialogues = {row["id"]: row["dialogue"] for split in ("test", "train") for row, _ in made[0][split]}
    assert {task["task"] for task in tasks} == {"topic", "tone", "speaker", "question"} and {
        task["id"] for task in tasks
    } == set(dialogues)
    assert all(task["line"] in dialogues[task["id"]] for task in tasks if task["task"] == "speaker")
    assert all(task["answer"].strip() and task.get("question", "?").strip() for task in tasks)


needs_data = pytest.mark.skipif(not SHIPPED.is_dir(), reason="pocket/data has not been built yet")


@needs_data
@pytest.mark.parametrize(("split", "count"), [("train", 2500), ("validation", 300), ("test", 300), ("wild", 60)])
def test_shipped_splits_are_those_that_the_seed_makes(split, count, rows, tmp_path):
    build.write_lines(tmp_path / f"{split}.jsonl", rows[split])
    shipped = (SHIPPED / f"{split}.jsonl").read_bytes()
    assert shipped.count(b"\n") == count and shipped == (tmp_path / f"{split}.jsonl").read_bytes()


@needs_data
def test_shipped_tasks_are_those_that_the_seed_makes(made, tmp_path):
    build.write_lines(tmp_path / "tasks.jsonl", make_tasks(made[0], build.SEED))
    assert (build.HOME / "tasks.jsonl").read_bytes() == (tmp_path / "tasks.jsonl").read_bytes()


@needs_data
def test_the_shipped_world_is_that_of_the_scenarios(corpus, rows):
    shipped = json.loads((build.HOME / "world.json").read_text(encoding="utf-8"))
    assert {name: shipped[name] for name in ("values", "wording")} == slot_values(corpus)
    assert len(shipped["values"]) > 2000
    flat = [row for found in rows.values() for row in found]
    assert set(lexicon(corpus, flat, count=50)) <= set(shipped["words"]) and shipped["words"] == sorted(
        shipped["words"]
    )


@needs_data
def test_checksums_are_those_of_the_shipped_files():
    assert json.loads((build.HOME / "checksums.json").read_text(encoding="utf-8")) == build.checksums(build.HOME)


@needs_data
def test_the_data_card_names_licence_and_unseen_scenarios():
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert "license: cc0-1.0" in card and all(name in card for name in UNSEEN)


def test_the_reward_models_targets_are_graded_and_pass_a_half_with_the_first_insult(corpus):
    sentences = Sentences(corpus, held_out=False)
    clean, heated = sentences.target("A calm talk."), sentences.target("They quarrel.", heated=True)
    one_of_three, all_of_it = (
        sentences.target(text) for text in ("You idiot! A calm talk. The tea is cold.", "You idiot!")
    )
    assert clean < heated < 0.5 < one_of_three < all_of_it < 1
    found = sentences.sample(60, seed=1)
    assert len({text for text, _ in found}) == 60 and sum(target > 0.5 for _, target in found) == 30
    assert all((target > 0.5) == sentences.is_toxic(text) for text, target in found)
    assert len({round(target, 2) for _, target in found}) > 4
