"""Dialogues: turns rows of any known layout into the kit's one form, and says what is wrong with the others."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from helpers.data.records import Problem, Row, require_columns
from helpers.models.characters import half_character

OWN_COLUMNS = ("id", "dialogue", "summary", "topic", "summaries")
MESSAGES = ("messages", "conversations")  # a chat: a list of objects, as programs around chat models write it
ROLES, TEXTS = ("role", "from", "speaker", "name"), ("content", "value", "text", "utterance")
LISTS = {  # whether it is the dialogue -> what to do with a list in one cell
    True: "write one text, with each turn on a line",
    False: "call the column summaries, or write one text",
}
CHAT = re.compile(r"""\s*\[\s*\{\s*['"]""")  # how a chat begins that was written into one cell
UNREAD = "is no list of messages that can be read"
UNSPOKEN = ("system", "developer")  # roles whose text is an order to a model, and no turn
ANSWERING = ("assistant", "gpt", "model")  # roles of a model
LAST_MESSAGE = "if the last message is the summary, move it into a column 'summary'"


class Checked(NamedTuple):
    """Rows in the kit's form, what is wrong with the others, and whether the source gives ids of its own."""

    records: list[dict]
    problems: list[Problem]
    has_ids: bool


@dataclass(frozen=True)
class Layout:
    """Which columns of a source hold what; `id` and `topic` are None where it has none."""

    id: str | None
    summaries: tuple[str, ...]  # ("summary",), DialogSum's ("summary1", "summary2", …), or ("summaries",): a list
    topic: str | None
    extras: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Layout:
        names = dict.fromkeys(name for row in rows for name in row.values)
        numbered = sorted((name for name in names if re.fullmatch(r"summary\d+", name)), key=lambda name: int(name[7:]))
        return cls(
            id=next((name for name in ("id", "fname") if name in names), None),
            summaries=("summaries",) if "summaries" in names else tuple(numbered) or ("summary",),
            topic=next((name for name in ("topic", "topic1") if name in names), None),
            extras=tuple(
                name
                for name in names
                if name not in (*OWN_COLUMNS, "fname") and not re.fullmatch(r"(summary|topic)\d+", name)
            ),
        )


def text_fault(value) -> str:
    """What is wrong with a value that must be a text; "" if nothing is."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "is empty"
    if not isinstance(value, str):
        return f"is {str(value)[:40]!r} (type {type(value).__name__}), not a text"
    return half_character(value)


def read_list(text: str) -> list[str] | None:
    """The texts of a list that a program wrote into one cell; None if the text is no such list.

    JSON's form is read, and those of Python and numpy, which `to_csv` of pandas and datasets writes: numpy puts blanks
    between the texts, and no commas. Nothing is evaluated but single texts in quotes.
    """
    if not text.strip().startswith("[") or not text.strip().endswith("]"):
        return None
    try:
        found = json.loads(text)
        return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else None
    except (ValueError, RecursionError):
        pass
    try:
        signs = list(tokenize.generate_tokens(io.StringIO(text.strip()).readline))
        texts = [ast.literal_eval(sign.string) for sign in signs if sign.type == tokenize.STRING]
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    others = [sign.string for sign in signs if sign.type != tokenize.STRING and sign.string.strip()]
    whole = others[:1] == ["["] and others[-1:] == ["]"] and set(others[1:-1]) <= {","}
    return texts if whole and texts and all(isinstance(each, str) for each in texts) else None


def read_messages(text: str) -> list | None:
    """The messages of a chat that a program wrote into one cell; None if the text is no such list.

    The forms are those of `read_list`. Nothing is evaluated but texts, numbers, lists and dictionaries of them.
    """
    if not CHAT.match(text):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        signs = [sign.string for sign in tokenize.generate_tokens(io.StringIO(text.strip()).readline)]
        signs = [sign for sign in signs if sign.strip()]
        pairs = zip(signs, [*signs[1:], ""])
        return ast.literal_eval(" ".join(f"{sign}," if (sign, after) == ("}", "{") else sign for sign, after in pairs))
    except (tokenize.TokenError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def read_turns(messages) -> str | None:
    """A chat as a dialogue, "role: what is said" on a line each; None if the value is no list of such messages, also
    none in one cell.
    """
    turns, messages = [], read_messages(messages) if isinstance(messages, str) else messages
    for message in messages if isinstance(messages, list) else [None]:
        if not isinstance(message, dict):
            return None
        role = next((message[key] for key in ROLES if key in message), None)
        texts = [message[key] for key in TEXTS if key in message]
        # Null is nothing said: so programs write a message that only calls a tool.
        said = next((text for text in texts if text is not None), "" if texts else None)
        if isinstance(said, list):
            said = _joined(said)
        if not isinstance(role, str) or not isinstance(said, str):
            return None
        if role not in UNSPOKEN and said.strip():
            turns.append(f"{role.strip()}: {' '.join(said.split())}")
    return "\n".join(turns)


def _joined(parts):
    """The texts of a message's parts, in order; pictures have none. Telegram mixes objects with the texts between."""
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    mixed = {str, dict} <= {type(part) for part in parts}
    return ("" if mixed else " ").join(text for text in texts if isinstance(text, str))


def ends_with_answer(rows: Sequence[Row]) -> bool:
    """Whether the first row's chat ends with a message by a model: it may be the summary of what stands before."""
    chat = rows[0].values.get(chat_column(rows)) if rows else None
    turns = (read_turns(chat) or "").split("\n")
    return len(turns) > 1 and turns[-1].startswith(tuple(f"{role}:" for role in ANSWERING))


def chat_column(rows: Sequence[Row]) -> str:
    """The column in which a chat may stand: `dialogue`, or where no row has it `messages` or `conversations`."""
    names = {name for row in rows for name in row.values}
    return next((name for name in ("dialogue", *MESSAGES) if name in names), "dialogue")


def with_dialogue(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with a text as `dialogue` where a chat stands there, or in a column `messages` or `conversations`."""
    column = chat_column(rows)
    read = [
        row if (text := read_turns(row.values.get(column))) is None else _renewed(row, column, text) for row in rows
    ]
    return read if any(new is not row for new, row in zip(read, rows)) else rows


def _renewed(row, column, text):
    return Row(row.line, {"dialogue": text} | {name: value for name, value in row.values.items() if name != column})


def clean(text: str) -> str:
    r"""The text with plain newlines, also for "\r\n" written out as four characters, and without blanks around it."""
    return text.replace("\\r\\n", "\n").replace("\r\n", "\n").replace("\r", "\n").strip()


def check_rows(rows: Sequence[Row], source: str, id_prefix: str = "row", remedy: str = "") -> Checked:
    """The rows of one source in the kit's form: id, dialogue, summary, topic, summaries, then the source's own columns.

    Args:
        source: the file or split, as messages shall name it.
        id_prefix: rows of a source without ids are called f"{id_prefix}-{line}".
        remedy: a first line for the message about a missing column.
    Raises:
        DataError: a column is missing from every row. Faults of single rows are returned, not raised.
    """
    chat, own, rows = chat_column(rows), rows, with_dialogue(rows)
    layout = Layout.of(rows)
    layout = replace(layout, extras=tuple(name for name in layout.extras if name != chat))  # a row's that is not read
    require_columns(rows, source, ["dialogue"], remedy, own)
    hint = LAST_MESSAGE if not remedy and ends_with_answer(own) else remedy
    require_columns(rows, source, layout.summaries, hint, own)
    records, problems, lines, kinds = [], [], {}, {}
    for line, values in rows:
        if layout.id is None:
            values = values | {"id": f"{id_prefix}-{line}"}
        record, faults = _to_record(values, layout)
        faults = _in_column(chat, faults, values) + _extra_faults(values, layout, kinds)
        if record["id"] in lines and not text_fault(record["id"]):
            faults.append((layout.id or "id", f"{record['id']!r} is the id of row {lines[record['id']]} too"))
        lines.setdefault(record["id"], line)
        if faults:
            problems += [Problem(source, line, column, what) for column, what in faults]
        else:
            records.append(record)
    return Checked(records, problems, layout.id is not None)


def _to_record(values, layout):
    """(record, [(column, fault)]); the record is whole only if there is no fault."""
    name = values.get(layout.id or "id")
    name = str(name) if type(name) in (int, float) else name  # numbers are fine as ids; True is not
    texts = {layout.id or "id": name, "dialogue": values.get("dialogue")}
    summary, summaries = values.get("summary"), _listed(values.get("summaries"))
    if layout.summaries != ("summaries",):
        summaries = {column: values.get(column) for column in layout.summaries}
    elif isinstance(summaries, list) and summaries:
        summaries = {f"summaries[{number}]": text for number, text in enumerate(summaries)}
    else:
        summaries = {"summaries": summary if summaries in (None, []) else summaries}
    texts |= summaries
    topic = values.get(layout.topic) or ""
    if summary is not None:  # a source may have it next to `summaries`
        texts["summary"] = summary
    if topic:
        texts[layout.topic] = topic
    faults = [(column, what) for column, text in texts.items() if (what := text_fault(text))]
    faults += [
        (column, what)
        for column, text in texts.items()
        if column not in (layout.id or "id", layout.topic) and (what := _list_fault(column, text))
    ]
    if faults:
        return {"id": str(name) if name is not None else ""}, faults
    summaries = [clean(text) for text in summaries.values()]
    extras = {column: values.get(column) for column in layout.extras}
    return {
        "id": name.strip(),
        "dialogue": clean(values["dialogue"]),
        "summary": clean(summary or summaries[0]),
        "topic": topic.strip(),
        "summaries": summaries,
        **extras,
    }, []


def _in_column(chat, faults, values):
    """The faults with those of a row's dialogue in the column that the source has for it."""
    if chat == "dialogue":
        return faults
    unread = text_fault(values.get(chat)) != "is empty"  # a chat that was read stands in `dialogue` instead
    return [(chat, UNREAD if unread else what) if column == "dialogue" else (column, what) for column, what in faults]


def _list_fault(column, text):
    """What is wrong with a text that is a list written into one cell; "" if it is none."""
    if not isinstance(text, str) or not text.lstrip().startswith("["):
        return ""
    if (found := read_list(text)) is not None:
        return f"holds a list of {len(found)} texts; {LISTS[column == 'dialogue']}"
    if column == "dialogue" and CHAT.match(text):
        return "begins like a list of messages, and is none that can be read"
    cut = column == "summaries" and re.match(r"""\[\s*['"]""", text.lstrip())
    return "begins like a list of texts, and is none that can be read" if cut else ""


def _listed(summaries):
    """A list of summaries, also where it was written into one cell; anything else as it is."""
    found = read_list(summaries) if isinstance(summaries, str) else None
    return summaries if found is None else found


def _extra_faults(values, layout, kinds):
    """Faults of a row's further columns: a column holds one type. `kinds` remembers the first one seen of each."""
    faults = []
    for column in layout.extras:
        value = values.get(column)
        kind = "number" if type(value) in (int, float) else type(value).__name__
        if value is not None and kinds.setdefault(column, kind) != kind:
            what = f"is {str(value)[:40]!r} (type {kind}); in the rows before it is of type {kinds[column]}"
            faults.append((column, what))
        elif isinstance(value, str) and value.strip() and (what := text_fault(value)):
            faults.append((column, what))
    return faults


def merge_annotators(records: Sequence[dict]) -> list[dict]:
    """One record a dialogue where a source has one row an annotator (ids test_0_1, test_0_2, …, the same dialogue).

    The merged record is called test_0, has every summary in the order of the ids, and all else from the first of them.
    """
    groups, taken = defaultdict(list), {record["id"] for record in records}
    for record in records:
        numbered = re.fullmatch(r"(.+_\d+)_(\d+)", record["id"])
        groups[numbered[1] if numbered and numbered[1] not in taken else record["id"]].append(record)
    merged = []
    for name, group in groups.items():
        if len(group) == 1 or len({record["dialogue"] for record in group}) > 1:
            merged += group
            continue
        group = sorted(group, key=lambda record: int(record["id"].rpartition("_")[2]))
        summaries = [summary for record in group for summary in record["summaries"]]
        merged.append(group[0] | {"id": name, "summaries": summaries})
    return merged
