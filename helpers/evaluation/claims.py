"""Claims: sentences with their measured values, shown as a table and asserted where they were made for."""

from __future__ import annotations

from dataclasses import dataclass

from IPython.display import display

from helpers.display import table

CLAIMS_MIME = "application/vnd.labkit.claims+json"


@dataclass(frozen=True)
class Claim:
    """One sentence that can be true or false, and the value that decides it.

    Attributes:
        exact: whether it holds by arithmetic (by hand equals the helper, bits are equal), whatever the size of the run;
            other claims are about measurements, and need all rows and steps.
    """

    text: str
    value: object
    holds: bool
    exact: bool = False

    def verdict(self) -> str:
        """What the table says."""
        return "holds" if self.holds else "DOES NOT HOLD"


def is_asserted(claim: Claim, settings, as_measured: bool = True) -> bool:
    """Whether a claim must hold under these settings."""
    return (settings.claims_asserted and as_measured) or (claim.exact and settings.exact_asserted)


def checkpoint(settings, *claims: Claim, as_measured: bool = True):
    """Shows the claims with what was measured, and asserts them where the settings are those they were made for.

    Args:
        as_measured: False where a choice in the lab took another model than the claims were measured with.

    With a model or data of one's own the table is the result: nothing is asserted of what nobody has measured before.
    In quick size the exact claims alone are asserted.

    Raises:
        AssertionError: a claim fails that is asserted under these settings; the message lists all such claims.
    """
    asserted = [is_asserted(claim, settings, as_measured) for claim in claims]
    rows = [(claim.text, str(claim.value), claim.verdict()) for claim in claims]
    if all(asserted):
        caption = "asserted"
    elif settings.size == "quick":
        caption = "quick size: asserted is only what holds exactly"
    else:
        caption = f"measured, not asserted: {settings.profile} with this model and data has no claim to hold it to"
    shown = [
        {"claim": claim.text, "value": str(claim.value), "holds": bool(claim.holds) if sure else None}
        for claim, sure in zip(claims, asserted)
    ]
    plain = "\n".join(" | ".join(row) for row in rows)
    page = table(("claim", "measured", caption), rows).data
    display({CLAIMS_MIME: shown, "text/html": page, "text/plain": plain}, raw=True)
    failed = [claim for claim, sure in zip(claims, asserted) if sure and not claim.holds]
    if failed:  # no `assert`: PYTHONOPTIMIZE=1 would leave it out
        told = "; ".join(f"{claim.text} (measured: {claim.value})" for claim in failed)
        raise AssertionError(f"Checkpoint: {told}")
