"""A widget in which people rank completions: one click for the best, one for the next best, and so on."""

from __future__ import annotations

import html

import ipywidgets as widgets

from helpers.alignment.human_feedback import FeedbackError, FeedbackStore, RankingSession
from helpers.display import notice


def ranking_widget(store: FeedbackStore, criterion: str) -> widgets.Widget:
    """Name, dialogue, completions to click, from best to worst; each ranking is kept at once, and whoever comes back goes on.

    Args:
        criterion: the question that the ranking answers, shown above every item.
    """
    labeler = widgets.Text(description="your name", placeholder="then press Enter", continuous_update=False)
    status, prompt, rows = widgets.HTML(), widgets.HTML(), widgets.VBox()
    undo = widgets.Button(description="Undo", icon="undo", disabled=True)
    session: list[RankingSession] = []

    def act(action, number=None):
        try:
            action() if number is None else action(number)
            show()
        except FeedbackError as error:
            status.value = notice(error)

    def start(_):
        session[:], prompt.value, rows.children, undo.disabled = [], "", (), True       # nobody clicks on without a name
        act(lambda: session.append(RankingSession(store, labeler.value)))

    def line(current, number):
        place = current.chosen.index(number) + 1 if number in current.chosen else None
        button = widgets.Button(description=f"{place}." if place else "next best", disabled=place is not None,
                                tooltip=current.item.completions[number], layout=widgets.Layout(width="90px"))
        button.on_click(lambda _: act(current.choose, number))
        return widgets.HBox([button, widgets.HTML(html.escape(current.item.completions[number]) or "<i>(nothing)</i>", layout=widgets.Layout(width="90%"))])

    def show():
        current = session[0]
        status.value = f"<p>{current.done} of {len(store.items)} ranked by {html.escape(current.labeler)}. <b>{html.escape(criterion)}</b></p>"
        undo.disabled = not current.chosen
        if current.item is None:
            prompt.value, rows.children = "<p>Nothing is left to rank. Thank you.</p>", ()
            return
        prompt.value = f"<pre>{html.escape(current.item.prompt)}</pre>"
        rows.children = tuple(line(current, number) for number in current.shown())

    labeler.observe(start, "value")
    undo.on_click(lambda _: act(session[0].undo))
    return widgets.VBox([labeler, status, prompt, rows, undo])
