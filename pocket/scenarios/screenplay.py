"""Reads scenario files (`scenarios/README.md` gives the format) and checks them; makes no dialogues itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent
# Held out: no model is trained on these.
UNSEEN = (
    "house_plants",
    "garden_fence",
    "library_fine",
    "calling_in_sick",
    "campsite_booking",
    "pet_sitting",
    "lost_umbrella",
    "tailor_alteration",
)
WORLD_FILES = ("pools.txt", "asides.txt", "insults.txt")
SLOT = re.compile(r"\{(?:(?P<article>an?) )?(?P<name>\w+)\}")
VERB = re.compile(r"\*([^*\s]+)\*")
CHOICE = re.compile(r"\[([^\[\]]*)\]")
BUILT_IN = {"A", "B", "insult", "slur"}


class ScenarioError(ValueError):
    """A scenario file breaks the format; the message names file and line."""


@dataclass(frozen=True)
class Turn:
    speaker: str
    lines: tuple[str, ...]
    rude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Beat:
    """Some turns that belong together, and the fact that a summary keeps of them (none: small talk)."""

    name: str
    branch: str
    optional: bool
    key: bool
    turns: tuple[Turn, ...]
    facts: tuple[str, ...] = ()
    blunt: tuple[str, ...] = ()
    neutral: tuple[str, ...] = ()
    questions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Scenario:
    name: str
    topics: tuple[str, ...]
    roles: tuple[str, str]
    rude: str
    slots: dict[str, tuple[str, ...]]
    beats: tuple[Beat, ...]

    def stages(self):
        """The beats in order, alternatives of one another grouped: a list of lists."""
        grouped: dict[str, list[Beat]] = {}
        for beat in self.beats:
            grouped.setdefault(beat.name, []).append(beat)
        return list(grouped.values())


@dataclass
class _Draft:
    """A scenario while its lines are being read."""

    name: str
    where: str
    header: dict = field(default_factory=dict)
    slots: dict = field(default_factory=dict)
    beats: list = field(default_factory=list)


def _values(text):
    return tuple(value.strip() for value in text.split(" / ") if value.strip())


def read_pools(folder=FOLDER):
    """The shared value lists and insults: name -> tuple of values."""
    pools = {}
    for name in ("pools.txt", "insults.txt"):
        for line in (Path(folder) / name).read_text(encoding="utf-8").splitlines():
            if ":" in line and not line.startswith("#"):
                key, text = line.split(":", 1)
                pools[key.removeprefix("pool ").strip()] = _values(text)
    return pools


def _beat_header(text):
    match = re.fullmatch(r"(\w+)(?:/(\w+))?\s*(\?)?\s*(\*)?", text.strip())
    if not match:
        raise ValueError(f"beat header {text!r}; expected `-- name`, `-- name/branch`, with `?` or `*` after it")
    name, branch, optional, key = match.groups()
    return {
        "name": name,
        "branch": branch or "",
        "optional": bool(optional),
        "key": bool(key),
        "turns": [],
        "facts": [],
        "blunt": [],
        "neutral": [],
        "questions": [],
    }


def _read_line(line, draft):
    """Adds one line of a scenario file to the draft."""
    beat = draft.beats[-1] if draft.beats else None
    if line.startswith("-- "):
        draft.beats.append(_beat_header(line[3:]))
    elif beat is None:
        key, _, text = line.partition(":")
        if key.startswith("slot "):
            draft.slots[key[5:].strip()] = text.strip()
        elif key in ("topic", "roles", "rude"):
            draft.header[key] = text.strip()
        else:
            raise ValueError(f"unknown header {key!r}; expected topic, roles, rude or slot NAME")
    elif match := re.match(r"([AB])(!?): (.+)", line):
        speaker, rude, text = match.groups()
        if not beat["turns"] or beat["turns"][-1][0] != speaker:
            beat["turns"].append((speaker, [], []))
        beat["turns"][-1][2 if rude else 1].append(text)
    elif line.startswith("? ") and " = " in line:
        question, answer = line[2:].rsplit(" = ", 1)
        beat["questions"].append((question.strip(), answer.strip()))
    elif match := re.match(r">([!~]?) (.+)", line):
        beat[{"": "facts", "!": "blunt", "~": "neutral"}[match[1]]].append(match[2].rstrip("."))
    else:
        raise ValueError(f"cannot read {line!r}")


def _finish(draft, pools):
    slots = {}
    for name, text in draft.slots.items():
        if text.startswith("@") and text[1:] not in pools:
            raise ScenarioError(f"{draft.where}: slot {name!r} asks for pool {text!r}; there are {', '.join(pools)}")
        slots[name] = pools[text[1:]] if text.startswith("@") else _values(text)
    beats = []
    for raw in draft.beats:
        turns = tuple(Turn(speaker, tuple(lines), tuple(rude)) for speaker, lines, rude in raw.pop("turns"))
        parts = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
        beats.append(Beat(turns=turns, **parts))
    roles = _values(draft.header.get("roles", ""))
    if len(roles) != 2:
        raise ScenarioError(f"{draft.where}: `roles:` must name two roles, got {roles}")
    return Scenario(
        draft.name, _values(draft.header.get("topic", "")), roles, draft.header.get("rude", ""), slots, tuple(beats)
    )


def parse(path, pools):
    """The scenarios of one file. Raises ScenarioError naming file and line."""
    drafts = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        where = f"{Path(path).name}:{number}"
        line = line.strip()
        if not line or line.startswith("# "):
            continue
        if line.startswith("== "):
            drafts.append(_Draft(line[3:].strip(), where))
            continue
        if not drafts:
            raise ScenarioError(f"{where}: text before the first `== name`")
        try:
            _read_line(line, drafts[-1])
        except ValueError as error:
            raise ScenarioError(f"{where}: {error}") from None
    return [_finish(draft, pools) for draft in drafts]


def load_scenarios(folder=FOLDER):
    """All scenarios, in the order of their files' names."""
    pools = read_pools(folder)
    files = [path for path in sorted(Path(folder).glob("*.txt")) if path.name not in WORLD_FILES]
    return [scenario for path in files for scenario in parse(path, pools)]


def load_asides(folder=FOLDER):
    """The interruptions that fit anywhere: beats of two turns without a fact."""
    text = "== asides\ntopic: none\nroles: one / the other\n" + (Path(folder) / "asides.txt").read_text(
        encoding="utf-8"
    )
    draft = _Draft("asides", "asides.txt")
    for line in text.splitlines()[3:]:
        if line.strip() and not line.startswith("#"):
            _read_line(line.strip(), draft)
    draft.header["roles"] = "one / the other"
    return list(_finish(draft, {}).beats)


def _slots_in(text):
    return {match["name"] for match in SLOT.finditer(text)}


def _check_beat(scenario, beat, certain):
    """Problems of one beat; `certain` holds the slots that every dialogue has already said."""
    where = f"{scenario.name} -- {beat.name}{'/' + beat.branch if beat.branch else ''}"
    if [turn.speaker for turn in beat.turns[:1]] != ["A"]:
        yield f"{where}: must start with A"
    if beat.turns and beat.turns[-1].speaker != "B" and beat not in scenario.stages()[-1]:
        yield f"{where}: must end with B"
    for turn in beat.turns:
        if len(turn.lines) < 3:
            yield f"{where}: a turn of {turn.speaker} has {len(turn.lines)} polite alternatives, at least 4 wanted"
        if turn.rude and not scenario.rude:
            yield f"{where}: rude lines, but the scenario has no `rude:` header"
    said = certain | _said_always(beat)
    for fact in beat.facts + beat.blunt + beat.neutral:
        if not VERB.search(fact):
            yield f"{where}: no *marked* verb in fact {fact!r}"
        if re.search(r"\b(he|she|they|his|her|their|him|them)\b", fact, re.IGNORECASE):
            yield f"{where}: pronoun in fact {fact!r} (fine if it is a third person)"
        for name in _slots_in(fact) - said - BUILT_IN:
            yield f"{where}: fact uses {{{name}}}, which not every way through the lines says: {fact!r}"
    for question, answer in beat.questions:
        for name in _slots_in(question + answer) - said - BUILT_IN:
            yield f"{where}: question uses {{{name}}}, which not every way through the lines says: {question!r}"
    if beat.facts and len(beat.facts) < 3:
        yield f"{where}: {len(beat.facts)} facts, at least 3 wordings wanted"
    if bool(beat.blunt) != bool(beat.neutral) or any("insult" not in fact for fact in beat.blunt):
        yield f"{where}: `>!` facts (each with {{insult}}) and `>~` facts must come together"


def _said_always(beat):
    """Slots that the beat says whichever lines are taken, in polite and in rude dialogues."""
    said = set()
    for turn in beat.turns:
        polite = set.intersection(*(_slots_in(line) for line in turn.lines)) if turn.lines else set()
        rude = set.intersection(*(_slots_in(line) for line in turn.rude)) if turn.rude else polite
        said |= polite & rude
    return said


def check(scenario):
    """Everything about a scenario that breaks the rules, as a list of sentences."""
    problems, certain = [], set()
    if not len(scenario.topics) >= 1:
        problems.append(f"{scenario.name}: no topic")
    for stage in scenario.stages():
        for beat in stage:
            problems += _check_beat(scenario, beat, certain)
        if not stage[0].optional:
            certain |= set.intersection(*(_said_always(beat) for beat in stage))
    used = set().union(
        *(_slots_in(line) for beat in scenario.beats for turn in beat.turns for line in turn.lines + turn.rude)
    )
    problems += [
        f"{scenario.name}: slot {{{name}}} is used but not defined" for name in used - set(scenario.slots) - BUILT_IN
    ]
    problems += [
        f"{scenario.name}: slot {name!r} has {len(values)} values, at least 7 wanted"
        for name, values in scenario.slots.items()
        if len(values) < 7
    ]
    if not any(beat.key for beat in scenario.beats):
        problems.append(f"{scenario.name}: no key beat")
    if not any(len(stage) > 1 for stage in scenario.stages()):
        problems.append(f"{scenario.name}: no beat with branches")
    if scenario.rude and not any(beat.blunt for beat in scenario.beats):
        problems.append(f"{scenario.name}: `rude:` without `>!` facts")
    return problems
