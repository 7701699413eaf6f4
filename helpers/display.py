"""Text on a page: tables of prompts, completions and numbers; everything a model or a file wrote is escaped first."""

from __future__ import annotations

import html
import re

from IPython.display import HTML

CELL = (
    "text-align:left;vertical-align:top;padding:4px 10px;white-space:pre-wrap;line-height:1.4;"
    "border-bottom:1px solid #8884"
)
INTERVAL = re.compile(r"\S{1,8} \[\S{1,8}, \S{1,8}\]")  # is not broken at the end of a line
NARROW = 5  # columns: in a table of more of them lines must break, or it would not fit into a small window
GOOD, BAD = "#229f61", "#d55e00"  # of frames: both stand out from white and from black


def _cell(value, tag="td", style="", narrow=False):
    style += ";white-space:nowrap" if narrow and INTERVAL.fullmatch(str(value)) else ""
    return f'<{tag} style="{CELL};{style}">{html.escape(str(value))}</{tag}>'


def table(header, rows, title=None) -> HTML:
    """An HTML table.

    Args:
        header: names of the columns; rows: sequences as long as it, of anything that has a text form; without rows the
            table says so.
        title: shown above the table.
    Raises:
        ValueError: a row is longer or shorter than the header.
    """
    rows = [tuple(row) for row in rows]  # an iterator such as `zip` can be gone through only once
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"rows[{number}] has {len(row)} cells, the header has {len(header)}: {row!r}")
    head = "".join(_cell(name, "th", "border-bottom:2px solid") for name in header)
    narrow = len(header) <= NARROW
    body = "".join("<tr>" + "".join(_cell(value, narrow=narrow) for value in row) + "</tr>" for row in rows)
    body = body or f'<tr><td style="{CELL}" colspan="{len(header)}">nothing to show</td></tr>'
    caption = f"<p><b>{html.escape(title)}</b></p>" if title else ""
    return HTML(
        f"{caption}<table "
        f'style="max-width:100%;border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def notice(what, detail="", good: bool = False) -> str:
    """HTML of a message in a coloured frame; the words keep the page's own colour, which can be read in a light and in
    a dark theme.
    """
    frame = f"border:2px solid {GOOD if good else BAD};border-radius:4px;padding:4px 10px;line-height:1.4"
    return f'<p style="{frame}"><b>{html.escape(str(what))}</b> {html.escape(str(detail))}</p>'


def texts(title=None, **named) -> HTML:
    """Named texts below one another, names on the left: `texts(prompt=…, completion=…, reference=…)`."""
    return table(("", ""), [(name.replace("_", " "), text) for name, text in named.items()], title)


def tokens(pieces, ids=None) -> HTML:
    """Tokens as coloured boxes, a newline as ⏎, with their ids below.

    Raises:
        ValueError: more or fewer ids than pieces.
    """
    if ids is not None and len(ids) != len(pieces):
        raise ValueError(f"ids: {len(ids)} of them for {len(pieces)} pieces; each piece has one")
    shades = ("#0072b222", "#e69f0022", "#009e7322", "#cc79a722")
    boxes = []
    for number, piece in enumerate(pieces):
        below = f'<br><small style="opacity:.6">{ids[number]}</small>' if ids is not None else ""
        text = html.escape(str(piece)).replace("\n", "⏎")
        boxes.append(
            f'<span style="display:inline-block;text-align:center;margin:2px;padding:1px 4px;border-radius:3px;'
            f'background-color:{shades[number % 4]}">{text}{below}</span>'
        )
    return HTML("<div>" + "".join(boxes) + "</div>")
