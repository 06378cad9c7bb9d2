"""Privacy: what noise costs, what was released, and audits of what is claimed."""

from skbilevel.privacy._accounting import (
    ORDERS,
    gdp_delta,
    gdp_epsilon,
    gdp_mu,
    last_iterate_mu,
    noise_multiplier,
    rdp_epsilon,
    subsampled_rdp,
)
from skbilevel.privacy._audit import AuditResult, audit, audit_mechanism
from skbilevel.privacy._ledger import PrivacyLedger, Release

__all__ = [
    "ORDERS",
    "AuditResult",
    "PrivacyLedger",
    "Release",
    "audit",
    "audit_mechanism",
    "gdp_delta",
    "gdp_epsilon",
    "gdp_mu",
    "last_iterate_mu",
    "noise_multiplier",
    "rdp_epsilon",
    "subsampled_rdp",
]
