"""Pictures of fitted models; matplotlib is imported only when one is drawn."""

from skbilevel.inspection._coefficients import CoefficientsDisplay
from skbilevel.inspection._deviations import DeviationsDisplay
from skbilevel.inspection._guard_path import GuardPathDisplay
from skbilevel.inspection._outer_trace import OuterTraceDisplay
from skbilevel.inspection._privacy import PrivacyDisplay
from skbilevel.inspection._strengths import StrengthsDisplay
from skbilevel.inspection._terms import TermsDisplay

__all__ = [
    "CoefficientsDisplay",
    "DeviationsDisplay",
    "GuardPathDisplay",
    "OuterTraceDisplay",
    "PrivacyDisplay",
    "StrengthsDisplay",
    "TermsDisplay",
]
