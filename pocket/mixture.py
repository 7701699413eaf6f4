"""The instruction mixture that pocket-t5 is pre-trained on: what kinds of examples, in what proportion, worded how."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass, replace

from helpers.data.prompts import TEMPLATES, build_prompt, build_task
from pocket.scenarios import styles
from pocket.scenarios.generator import Play, World, pseudo_word

INSTRUCTIONS = tuple(name for name in TEMPLATES if name != "none")
RUDE_SHARE = 0.27
NOISES = (0.0, 0.2, 0.8)  # shares of a dialogue's slots that take a foreign value
# Kind of example -> weight, for each stage. A model that has not learned to copy ignores its encoder for hours: so
# first it only copies words, every word of the lexicon as often as any other, then also from very short dialogues.
COPYING = {"copy": 1.0}
EASY_START = {"copy": 0.20, "repeat": 0.20, "question": 0.30, "excerpt": 0.30}
# What a dialogue says is learned from one dialogue at a time, which is cheap; what an exemplar shows, mostly from short
# excerpts.
MAIN = {
    "instructed": 0.30,
    "few-shot": 0.20,
    "question": 0.18,
    "copy": 0.08,
    "zero-shot": 0.06,
    "speaker": 0.05,
    "continue": 0.04,
    "spans": 0.03,
    "repeat": 0.02,
    "topic": 0.02,
    "tone": 0.02,
}
# Last, whole dialogues with whole exemplars, which differ among themselves, so that three tell more than one. Without
# this stage the longest prompts are rare, and the model takes an exemplar's story for the dialogue's.
FINAL = {
    "family": 0.33,
    "question": 0.24,
    "instructed": 0.17,
    "copy": 0.06,
    "zero-shot": 0.05,
    "speaker": 0.05,
    "continue": 0.03,
    "topic": 0.03,
    "repeat": 0.02,
    "tone": 0.02,
}
SHOTS, SHOT_WEIGHTS = (1, 2, 3), (3, 1, 2)
EXCERPTS = (1, 1, 2, 2, 3)  # beats of a dialogue that is cut
REFERENCE_SHARE = 0.03  # of few-shot prompts in the data set's own style; zero-shot examples never have it
TENSE_WORDS = {
    "present": "the present tense",
    "past": "the past tense",
}
STRUCTURE_WORDS = {
    "sentences": "in plain sentences",
    "semicolons": "with semicolons",
    "dashes": "as a list with dashes",
    "numbers": "as a numbered list",
    "backwards": "backwards",
    "slashes": "with slashes",
}
DETAIL_WORDS = {"short": "in one point", "key": "with the main points", "full": "with all details"}


@dataclass(frozen=True)
class Example:
    kind: str
    prompt: str
    target: str


class Mixture:
    """Draws pre-training examples from the scenarios it is given.

    A slot takes its training values; the held-out ones occur in other scenarios' slots and in lists of words.

    Args:
        words: the lexicon that lists of words to copy are drawn from; by default all slot values.
    """

    def __init__(self, world: World, scenarios, words=None):
        self.world = world
        self.scenarios = list(scenarios)
        self.words = list(words or world.values)
        self.whole = 1.0
        self.held_out = False
        self.noises = NOISES

    @contextmanager
    def plain(self):
        """Within it no slot takes a foreign value."""
        self.noises = (0.0,)
        try:
            yield self
        finally:
            self.noises = NOISES

    def _length(self, rng):
        """How many beats a dialogue keeps: all of them (0) with probability `whole`, else one to three."""
        return 0 if rng.random() < self.whole else rng.choice(EXCERPTS)

    def _play(self, rng, excerpt=0) -> Play:
        noise = rng.choice(self.noises)
        return self.world.play(
            rng.choice(self.scenarios),
            seed=rng.random(),
            rude=rng.random() < 2 * RUDE_SHARE,
            held_out=self.held_out,
            noise=0.0 if self.held_out else noise,
            excerpt=excerpt,
        )

    def draw(self, kind: str, rng: random.Random) -> Example:
        prompt, target = getattr(self, "_" + kind.replace("-", "_"))(rng)
        return Example(kind, prompt, target)

    def sample(self, count, seed, weights, whole=1.0) -> list[Example]:
        """`count` examples, a share `whole` of their dialogues uncut; the same seed gives the same ones."""
        rng = random.Random(f"mixture|{seed}")
        self.whole = whole
        return [self.draw(kind, rng) for kind in rng.choices(list(weights), list(weights.values()), k=count)]

    def few_shot(self, rng, shots, style=None, excerpt=None):
        """A prompt with `shots` exemplars and its target, all in one style or family of styles, the tone of rude
        summaries included.
        """
        style = style or self._style(rng)
        tone = rng.choice(("neutral", "blunt"))
        excerpt = self._length(rng) if excerpt is None else excerpt
        plays = [self._play(rng, excerpt) for _ in range(shots + 1)]
        draw = (
            styles.reference_style
            if style == styles.REFERENCE
            else style.draw
            if isinstance(style, styles.Family)
            else lambda rng: style
        )
        texts = [styles.summarize(play, draw(rng), rng, tone) for play in plays]
        solved = [(play.dialogue(), text) for play, text in zip(plays[:-1], texts)]
        return build_prompt(plays[-1].dialogue(), solved, rng.choice(INSTRUCTIONS)), texts[-1]

    def probe(self, rng, shots):
        """A held-out example in a random style, the same for every number of shots: what the exemplars add is the
        style.
        """
        self.held_out, self.whole = True, 1.0
        prompt, target = self.few_shot(rng, shots, styles.random_style(rng), excerpt=0)
        self.held_out = False
        return Example(f"{shots}-shot", prompt, target)

    def probe_question(self, rng):
        self.held_out, self.whole = True, 1.0
        example = self.draw("question", rng)
        self.held_out = False
        return example

    def _style(self, rng):
        return styles.REFERENCE if rng.random() < REFERENCE_SHARE else styles.random_style(rng)

    def _few_shot(self, rng):
        return self.few_shot(rng, rng.choices(SHOTS, SHOT_WEIGHTS)[0], excerpt=rng.choice(EXCERPTS))

    def _family(self, rng):
        return self.few_shot(rng, rng.choices(SHOTS, SHOT_WEIGHTS)[0], styles.random_family(rng))

    def _zero_shot(self, rng):
        style = styles.random_style(rng)
        while style.naming == "tags":
            style = styles.random_style(rng)
        play = self._play(rng, self._length(rng))
        return (
            build_prompt(play.dialogue(), template=rng.choice(INSTRUCTIONS)),
            styles.summarize(play, style, rng, rng.choice(("neutral", "blunt"))),
        )

    def _excerpt(self, rng):
        play = self._play(rng, excerpt=rng.choice((1, 2)))
        return (
            build_prompt(play.dialogue(), template=rng.choice(INSTRUCTIONS)),
            styles.summarize(play, styles.random_style(rng), rng),
        )

    def _instructed(self, rng):
        style, play = styles.random_style(rng), self._play(rng, self._length(rng))
        wishes = [
            f"Call the speakers {' and '.join(styles.NAMINGS[style.naming] or play.roles)}.",
            f"Use {TENSE_WORDS[style.tense]}.",
            f"Write it {DETAIL_WORDS[style.detail]}.",
        ]
        if style.structure in STRUCTURE_WORDS:
            wishes.append(f"Write it {STRUCTURE_WORDS[style.structure]}.")
        wishes = rng.sample(wishes, rng.choice((1, 2, len(wishes), len(wishes), len(wishes))))
        style = replace(style, opening="none")
        return (
            build_prompt(play.dialogue(), template=rng.choice(INSTRUCTIONS)) + " " + " ".join(wishes),
            styles.summarize(play, style, rng),
        )

    def _question(self, rng):
        while True:
            play = self._play(rng, self._length(rng))
            if play.questions:
                question, answer = rng.choice(play.questions)
                return build_task("question", play.dialogue(), question=question), answer

    def _topic(self, rng):
        play = self._play(rng, self._length(rng))
        return build_task("topic", play.dialogue()), play.topics[0]

    def _speaker(self, rng):
        play = self._play(rng, self._length(rng))
        speaker, line = rng.choice(play.turns)
        return build_task("speaker", play.dialogue(), line=line), f"#Person{1 if speaker == 'A' else 2}#"

    def _tone(self, rng):
        play = self._play(rng)
        return build_task("tone", play.dialogue()), "rude" if play.rude else "polite"

    def _continue(self, rng):
        lines = self._play(rng, self._length(rng)).dialogue().split("\n")
        cut = rng.randrange(1, len(lines))
        return build_prompt("\n".join(lines[:cut]), template="none"), "\n".join(
            lines[cut : cut + rng.choice((1, 1, 2))]
        )

    def _copy(self, rng):
        words = " ".join(rng.choice(self.words) for _ in range(rng.randint(2, 14)))
        return f"Repeat: {words}", words

    def _repeat(self, rng):
        words = [
            pseudo_word(rng) if rng.random() < 0.3 else rng.choice(self.world.values) for _ in range(rng.randint(1, 8))
        ]
        return "Repeat: " + " ".join(words), " ".join(words)

    def _spans(self, rng):
        words = self._play(rng, self._length(rng)).dialogue().replace("\n", " \n ").split(" ")
        return corrupt_spans(words, rng)


def corrupt_spans(words, rng, share=0.15, mean_length=3, most=16):
    """Span corruption: text with sentinels in place of spans of words, and the spans behind their sentinels.

    Source: Raffel et al. 2020, section 3.1.4 (15% of the text, mean length 3).
    """
    count = max(1, min(most, round(len(words) * share / mean_length)))
    starts = sorted(rng.sample(range(max(1, len(words) - mean_length)), min(count, max(1, len(words) - mean_length))))
    kept, removed, position = [], [], 0
    for number, start in enumerate(starts):
        if start < position:
            continue
        end = min(len(words), start + rng.randint(1, 2 * mean_length - 1))
        kept += [*words[position:start], f"<extra_id_{number}>"]
        removed += [f"<extra_id_{number}>", *words[start:end]]
        position = end

    def tidy(parts):
        return " ".join(parts).replace(" \n ", "\n").strip()

    return tidy(kept + words[position:]), tidy(removed)
