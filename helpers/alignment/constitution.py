"""Constitutional AI: principles as data, critique, revision and preferences by the model itself.

Also the lessons that teach a small model to criticize and to revise, written from dialogues whose blunt and neutral
summaries are both known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from helpers.alignment.ppo import token_logprobs
from helpers.data.loading import load_dialogues
from helpers.data.pairs import Collator
from helpers.evaluation.experiments import rude_rows
from helpers.evaluation.metrics import normalised, words
from helpers.models.generation import encode_prompts, evaluating
from helpers.settings import POCKET, load_settings

NOTHING = "Nothing to object."
INSULT = re.compile(
    r"\b(idiot|fool|moron|loser|jerk|liar|hypocrite|coward|imbecile|pig|stupid|pathetic|idiotic|moronic)s?\b",
    re.IGNORECASE,
)
CALMER = {"angrily": "", "loudly": "", "sharply": "", "angry": "unhappy", "furious": "unhappy", "cross": "unhappy"}
HEATED = re.compile(rf"\b({'|'.join(CALMER)})\b", re.IGNORECASE)
EMPTY = set(
    words(
        "a an the of to and for with is are in on at by be has have that it its was were as not who because "
        "after over about from this will would "
        "than s his her their can person1 person2"
    )
)  # words that two sentences share whatever they say


@dataclass(frozen=True)
class Principle:
    """One rule that texts are held to.

    Attributes:
        name: what figures and tables call it. text: as the critic reads it. complaint: what lessons answer, with {word}
            for the word that offends.
    """

    name: str
    text: str
    complaint: str

    def __post_init__(self):
        if not self.text.strip() or "{word}" not in self.complaint:
            raise ValueError(
                f"principle {self.name!r}: needs a text and a complaint with {{word}} in it; found "
                f"{self.text!r} and {self.complaint!r}"
            )


RESPECT = Principle("respect", "Nobody is called names or insulted.", "The word {word} insults somebody.")
CALM = Principle("calm", "Quarrels are told without heated words.", "The word {word} is heated.")
CONSTITUTION = (RESPECT, CALM)


@dataclass(frozen=True)
class Finding:
    """What the critic said of one sentence; text: the number of the text it stands in; revision: the sentence itself
    where there was no objection.
    """

    text: int
    sentence: str
    critique: str
    revision: str


@dataclass(frozen=True)
class Review:
    """N texts, what was found in them sentence by sentence, and the N texts that came of it."""

    texts: list[str]
    findings: list[Finding]
    revised: list[str]

    @property
    def objections(self) -> list[Finding]:
        """Where the critic had something to say."""
        return [finding for finding in self.findings if objects(finding.critique)]


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its full stop; none of an empty text."""
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+", text.strip()) if sentence]


def critique_prompt(text: str, principle: Principle) -> str:
    """The prompt that asks for a critique of a sentence by one principle."""
    return f"Text: {text}\n\nPrinciple: {principle.text}\n\nCritique:"


def revision_prompt(text: str, critique: str) -> str:
    """The prompt that asks for a sentence without what the critique objects to."""
    return f"Text: {text}\n\nCritique: {critique}\n\nRevision:"


def objects(critique: str) -> bool:
    """Whether a critique says anything else than `NOTHING`; case, punctuation and white space do not count."""
    return normalised(critique) != normalised(NOTHING)


def review(write: Callable, texts: Sequence[str], principle: Principle, heard: Callable | None = None) -> Review:
    """One round of self-correction: every sentence is criticized by the principle, those with an objection are revised,
    the others stay as they are.

    Args:
        write: list of prompts -> list of completions; the model that criticizes and revises. texts: N.
        heard: list of objecting critiques -> as many critiques, which the reviser reads in their place; for controls.
    Raises:
        ValueError: `heard` gives more or fewer critiques than it got.
    Source: Bai et al. 2022, section 3.1, with sentences in place of whole answers.
    """
    places = [(number, sentence) for number, text in enumerate(texts) for sentence in sentences(text)]
    different = list(dict.fromkeys(sentence for _, sentence in places))
    critiques = dict(zip(different, write([critique_prompt(sentence, principle) for sentence in different])))
    faulty = [sentence for sentence in different if objects(critiques[sentence])]
    read = [critiques[sentence] for sentence in faulty]
    read = read if heard is None else list(heard(read))
    if len(read) != len(faulty):
        raise ValueError(
            f"heard: gives {len(read)} critiques for {len(faulty)} sentences; the reviser reads one for each"
        )
    revisions = dict(zip(faulty, write([revision_prompt(*pair) for pair in zip(faulty, read)]))) if faulty else {}
    findings = [
        Finding(number, sentence, critiques[sentence], revisions.get(sentence, sentence)) for number, sentence in places
    ]
    revised = [[] for _ in texts]
    for finding in findings:
        revised[finding.text].append(finding.revision)
    return Review(list(texts), findings, [" ".join(part for part in parts if part) for parts in revised])


@torch.no_grad()
def approval(model, tokenizer, texts: Sequence[str], principle: Principle, batch_size: int = 64) -> np.ndarray:
    """(N,) how surely the critic finds nothing: log-probability of `NOTHING`, in nats, for the worst sentence of each
    text; 0 for an empty text.

    Source: Bai et al. 2022, section 4.1, where a model's log-probabilities are the preference; there two texts are
        compared in one prompt.
    """
    different = list(dict.fromkeys(sentence for text in texts for sentence in sentences(text)))
    answer, found, collate = tokenizer(NOTHING)["input_ids"], {}, Collator(tokenizer.pad_token_id, multiple=1)
    rows = encode_prompts(tokenizer, [critique_prompt(sentence, principle) for sentence in different])
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    with evaluating(model):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = {
                name: part.to(model.device)
                for name, part in collate([{"input_ids": rows[row], "labels": answer} for row in chosen]).items()
            }
            logprobs = token_logprobs(model(**batch).logits.float(), batch["labels"]).sum(1)
            found |= {different[row]: value for row, value in zip(chosen, logprobs.tolist())}
    return np.array([min((found[sentence] for sentence in sentences(text)), default=0.0) for text in texts])


def preferences(
    first: Sequence[str], second: Sequence[str], approvals: Sequence[Sequence[float]], margin: float = 1.0
) -> list[tuple[int, str, str]]:
    """(number, better, worse) for each of N pairs of texts that the critic tells apart.

    Args:
        first, second: N texts each, answers to the same prompts; approvals: two rows of N numbers, in nats.
        margin: pairs whose approvals lie less far apart are left out: their order would be noise.
    """
    pairs = []
    for number, (one, other, *values) in enumerate(zip(first, second, *approvals)):
        if abs(values[0] - values[1]) >= margin and one != other:
            pairs.append((number, one, other) if values[0] > values[1] else (number, other, one))
    return pairs


def kit_rows(split: str) -> list[dict]:
    """The rude rows of the kit's own dialogues, which are at hand under every profile."""
    return rude_rows(load_dialogues(load_settings("pocket", data=str(POCKET / "data")))[split])


def _capital(text):
    return text[:1].upper() + text[1:]


def _clauses(sentence):
    return re.split(r", and (?=#|the |before |at |to )", sentence.rstrip("."))


def _content(text):
    return set(words(INSULT.sub(" ", text))) - EMPTY


def reworded(row) -> tuple[str, str] | None:
    """(insulting sentence of the blunt summary, the same with its insulting clause in the neutral summary's words).

    The two clauses are found by the words that they share; None where there is no insult, or no clause that shares a
    fifth of them.

    Args:
        row: with the columns blunt and neutral.
    """
    blunt = next((sentence for sentence in sentences(row["blunt"]) if INSULT.search(sentence)), None)
    if blunt is None:
        return None
    clauses = _clauses(blunt)
    place = next(place for place, clause in enumerate(clauses) if INSULT.search(clause))
    meant = _content(clauses[place])
    shared = {
        clause: len(meant & _content(clause)) / max(1, len(meant | _content(clause)))
        for sentence in sentences(row["neutral"])
        for clause in _clauses(sentence)
        if not INSULT.search(clause)
    }
    best = max(shared, key=shared.get, default=None)
    if best is None or shared[best] < 0.2:
        return None
    return blunt, _capital(", and ".join([*clauses[:place], best, *clauses[place + 1 :]])) + "."


def calmed(sentence: str) -> str:
    """The sentence without its heated words: adverbs go, adjectives become "unhappy"."""
    calmer = HEATED.sub(lambda match: CALMER[match[0].lower()], sentence)
    return _capital(re.sub(r"\s+([,.])", r"\1", re.sub(r"\s+", " ", calmer)).strip(" ,"))


def verdict(sentence: str, principle: Principle) -> str:
    """The critique that a lesson gives: the first word against the principle, or that there is nothing."""
    match = {RESPECT: INSULT, CALM: HEATED}[principle].search(sentence)
    return principle.complaint.format(word=match[0].lower()) if match else NOTHING


def critique_lessons(rows: Sequence[dict]) -> list[tuple[str, Principle, str]]:
    """(sentence, principle, critique): of each row the insulting sentence and the same reworded under both principles,
    that one without its heat; of every other row a sentence about something else as well, under one of the two.

    The same sentence comes with both principles, and nearly the same one with and without a heated word: only who reads
    both can tell the verdict.
    """
    found = []
    for number, row in enumerate(rows):
        if pair := reworded(row):
            others = [sentence for sentence in sentences(row["blunt"]) if sentence != pair[0]] if number % 2 else []
            taught = [(sentence, principle) for sentence in pair for principle in (RESPECT, CALM)] + [
                (sentence, (RESPECT, CALM)[number // 2 % 2]) for sentence in others[:1]
            ]
            taught += [(calmed(pair[1]), CALM)] if HEATED.search(pair[1]) else []
            found += [(sentence, principle, verdict(sentence, principle)) for sentence, principle in taught]
    return found


def revision_lessons(rows: Sequence[dict]) -> list[tuple[str, str, str]]:
    """(sentence, critique, revision): insulting sentences reworded, and what is still heated of that calmed."""
    found = []
    for row in rows:
        if pair := reworded(row):
            found.append((pair[0], verdict(pair[0], RESPECT), pair[1]))
            if HEATED.search(pair[1]):
                found.append((pair[1], verdict(pair[1], CALM), calmed(pair[1])))
    return found


def lessons(rows: Sequence[dict]) -> tuple[list[str], list[str]]:
    """(prompts, completions) of both kinds of lessons, for training.

    Raises:
        ValueError: no row has a blunt and a neutral summary that lessons could be written from.
    """
    pairs = []
    for sentence, principle, critique in critique_lessons(rows):
        rare = principle is CALM and objects(critique)  # the rarest lesson comes twice: once was not enough to learn it
        pairs += [(critique_prompt(sentence, principle), critique)] * (1 + rare)
    pairs += [
        (revision_prompt(sentence, critique), revision) for sentence, critique, revision in revision_lessons(rows)
    ]
    if not pairs:
        raise ValueError(
            f"rows: none of {len(rows)} has a blunt summary with an insult and a neutral one that tells the "
            "same; take helpers.alignment.constitution.kit_rows"
        )
    return [prompt for prompt, _ in pairs], [completion for _, completion in pairs]
