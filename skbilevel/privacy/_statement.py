"""A guarantee in plain sentences, as text and as HTML."""

from __future__ import annotations

import math
from html import escape

from skbilevel.privacy._ledger import PrivacyLedger

_PUBLIC = (
    "Public are the number of rows, the names and types of the columns, the bounds and "
    "all other parameters. Not covered are errors (missing or unknown values raise), "
    "how long a fit takes, and attacks on the rounding of Gaussian noise in floating "
    "point. Other fits on the same rows add to this one; whatever else learned from "
    "them, a scaler in front for instance, has a cost of its own."
)
_SEEDED = (
    "random_state was given: whoever knows it knows the noise, and is not bound by "
    "this statement. Fit with random_state=None before you publish."
)


def statement(ledger: PrivacyLedger, delta: float, seeded: bool) -> str:
    """What is guaranteed to whoever sees what a fit published."""
    epsilon = ledger.epsilon(delta)
    if math.isinf(epsilon):
        return "No noise was added (epsilon is infinite): nothing is guaranteed."
    how = f"mu = {ledger.mu:.4g}, exact" if ledger.exact else "by a Renyi bound"
    first = (
        f"Everything that this fit publishes is ({epsilon:.4g}, {delta:.3g})-"
        f"differentially private ({how}): if one row were replaced by any other, no "
        "outcome would become more than exp(epsilon) = "
        f"{_factor(epsilon)} times as likely, but for outcomes whose probability is "
        f"about {delta:.3g}. "
    )
    return first + _PUBLIC + (" " + _SEEDED if seeded else "")


def statement_html(ledger: PrivacyLedger, delta: float, seeded: bool) -> str:
    """The same as a block of HTML, with a table of the releases."""
    rows = "".join(
        f"<tr><td>{escape(release.name)}</td><td>{release.count * release.n_parts}"
        f"</td><td>{share:.0%}</td></tr>"
        for release, share in zip(ledger.releases, ledger.shares(), strict=True)
    )
    return (
        '<div class="skbilevel-privacy"><p><b>epsilon '
        f"{ledger.epsilon(delta):.4g}, delta {delta:.3g}</b></p><p>"
        f"{escape(statement(ledger, delta, seeded))}</p><table><tr><th>released</th>"
        f"<th>times</th><th>share of the budget</th></tr>{rows}</table></div>"
    )


def _factor(epsilon: float) -> str:
    return f"{math.exp(epsilon):.3g}" if epsilon < 700.0 else "a huge number"
