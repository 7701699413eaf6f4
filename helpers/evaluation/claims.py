"""Checkpoints: claims with their measured values, shown as a table and asserted where they were made for."""

from __future__ import annotations

from dataclasses import dataclass

from IPython.display import display

from helpers.display import table

CLAIMS_MIME = "application/vnd.labkit.claims+json"


@dataclass(frozen=True)
class Claim:
    """One sentence that can be true or false, and the value that decides it."""

    text: str
    value: object
    holds: bool

    def verdict(self) -> str:
        return "holds" if self.holds else "DOES NOT HOLD"


def checkpoint(settings, *claims: Claim):
    """Shows the claims with what was measured, and asserts them where the settings are those they were made for.

    With a model or data of one's own the table is the result: nothing is asserted of what nobody has measured before.

    Raises:
        AssertionError: at least one claim fails under settings with `claims_asserted`; the message lists the failing
            ones.
    """
    asserted = settings.claims_asserted
    rows = [(claim.text, str(claim.value), claim.verdict()) for claim in claims]
    caption = (
        "asserted"
        if asserted
        else f"measured, not asserted: {settings.profile} with this model and data has no published claim to hold it to"
    )
    display(
        {
            CLAIMS_MIME: [
                {"claim": claim.text, "value": str(claim.value), "holds": bool(claim.holds) if asserted else None}
                for claim in claims
            ],
            "text/html": table(("claim", "measured", caption), rows).data,
            "text/plain": "\n".join(" | ".join(row) for row in rows),
        },
        raw=True,
    )
    failed = [f"{claim.text} (measured: {claim.value})" for claim in claims if not claim.holds]
    assert not (asserted and failed), "Checkpoint: " + "; ".join(failed)
