"""The data set: which scenarios and slot values are held out, and the dialogues of every split."""

from __future__ import annotations

import json
import random
import re

from pocket.mixture import Mixture
from pocket.scenarios.generator import RUDE_SHARE, World
from pocket.scenarios.screenplay import FOLDER, SLOT, UNSEEN, load_scenarios
from pocket.scenarios.styles import HEADLINE, references, summarize

SIZES = {"train": 2500, "validation": 300, "test": 300}
KNOWN_TEST = 240  # of the test dialogues; the rest are of unseen scenarios


class Corpus:
    """All scenarios, split into those a model may be trained on and those it never sees."""

    def __init__(self):
        scenarios = load_scenarios()
        self.world = World(scenarios)
        self.known = [scenario for scenario in scenarios if scenario.name not in UNSEEN]
        self.unseen = [scenario for scenario in scenarios if scenario.name in UNSEEN]
        self.mixture = Mixture(self.world, self.known)

    def plays(self, count, scenarios, seed, held_out, taken):
        """`count` different dialogues, scenarios in turn, a fixed share of them rude; none is in `taken`, which
        grows.
        """
        rng = random.Random(f"plays|{seed}")
        rude_ones = [scenario for scenario in scenarios if scenario.rude]
        rude_count = round(count * RUDE_SHARE)
        order = [(rude_ones[i % len(rude_ones)], True) for i in range(rude_count)]
        order += [(scenarios[i % len(scenarios)], False) for i in range(count - rude_count)]
        rng.shuffle(order)
        found = []
        for number, (scenario, rude) in enumerate(order):
            attempt = 0
            while True:
                play = self.world.play(scenario, seed=(seed, number, attempt), rude=rude, held_out=held_out)
                attempt += 1
                if play.dialogue() not in taken:
                    break
            taken.add(play.dialogue())
            found.append(play)
        return found


def row(play, name, part, seed):
    """One line of a split's file.

    Test rows have three references, of which a rude dialogue's last is blunt. Training rows have one summary; of rude
    dialogues it is the blunt one as often as the neutral one, as people do write both. `blunt` and `neutral` hold both.
    """
    rng = random.Random(f"row|{seed}|{name}")
    texts = references(play, seed)
    blunt = texts[-1] if play.rude else ""
    kept = texts if part in ("known", "unseen") else [blunt if play.rude and rng.random() < 0.5 else texts[0]]
    return {
        "id": name,
        "topic": play.topics[0],
        "dialogue": play.dialogue(),
        "summary": kept[0],
        "summaries": kept,
        "headline": summarize(play, HEADLINE, rng),
        "rude": play.rude,
        "neutral": texts[0],
        "blunt": blunt,
        "part": part,
        "scenario": play.scenario,
    }


def wild_rows():
    """The dialogues written one by one, in the form of the other splits."""
    rows = [json.loads(line) for line in (FOLDER / "wild.jsonl").read_text(encoding="utf-8").splitlines()]
    return [
        {
            "id": row["id"],
            "topic": row["topic"],
            "dialogue": row["dialogue"],
            "summary": row["summaries"][0],
            "summaries": row["summaries"],
            "headline": row["topic"].capitalize(),
            "rude": row["rude"],
            "neutral": row["summaries"][0],
            "blunt": row["summaries"][-1] if row["rude"] else "",
            "part": "wild",
            "scenario": "",
        }
        for row in rows
    ]


def make_splits(corpus, seed, scale=1.0):
    """{split: [(row, play)]}; `scale` shrinks every split, for trials."""
    taken, splits = set(), {}
    plan = {
        "train": [("train", corpus.known, SIZES["train"], False)],
        "validation": [("validation", corpus.known, SIZES["validation"], True)],
        "test": [
            ("known", corpus.known, KNOWN_TEST, True),
            ("unseen", corpus.unseen, SIZES["test"] - KNOWN_TEST, True),
        ],
    }
    for split, parts in plan.items():
        splits[split] = []
        for part, scenarios, count, held_out in parts:
            plays = corpus.plays(max(8, round(count * scale)), scenarios, (seed, split, part), held_out, taken)
            start = len(splits[split])
            splits[split] += [
                (row(play, f"{split}-{start + number:04d}", part, seed), play) for number, play in enumerate(plays)
            ]
    return splits


def make_tasks(splits, seed):
    """Other tasks about the dialogues of test (to measure what a model can do besides summarizing) and of train (to
    keep it).
    """
    rng = random.Random(f"tasks|{seed}")
    tasks = []
    for fields, play in splits["test"] + splits["train"]:
        speaker, line = rng.choice(play.turns)
        asked = [
            ("topic", {}, play.topics[0]),
            ("tone", {}, "rude" if play.rude else "polite"),
            ("speaker", {"line": line}, f"#Person{1 if speaker == 'A' else 2}#"),
        ]
        asked += [
            ("question", {"question": question}, answer)
            for question, answer in rng.sample(play.questions, min(2, len(play.questions)))
        ]
        tasks += [
            {"id": fields["id"], "part": fields["part"], "task": task, "answer": answer, **extra}
            for task, extra, answer in asked
        ]
    return tasks


def slot_values(corpus):
    """{"values": all slots' values, "wording": {scenario: those of them that its facts hold as wording}}.

    A value that a summary names is a fact to check, unless every summary of the scenario may say it.
    """
    wording = {}
    for name, scenario in corpus.world.scenarios.items():
        facts = [fact for beat in scenario.beats for fact in (*beat.facts, *beat.blunt, *beat.neutral)]
        fixed = SLOT.sub(" ", "\n".join(facts).replace("*", "")).lower()
        found = [
            value for value in corpus.world.values if re.search(rf"(?<!\w){re.escape(value.lower())}(?!\w)", fixed)
        ]
        wording |= {name: found} if found else {}
    return {"values": corpus.world.values, "wording": wording}
