"""Which master calibrations fit a frame: pure functions over frames and rules; nothing here reads a catalogue."""

from avcd.association.comparison import NEEDS, Difference, differences
from avcd.association.criteria import KINDS, SCALED, kind_of
from avcd.association.judgement import applied_need, judge
from avcd.association.loading import load_rules, read_rules
from avcd.association.pool import Choice, Pool
from avcd.association.rules import Rules, RuleSet
from avcd.association.sessions import at_most, coherent, flat_is_too_short
from avcd.association.trimming import readout_values, trimmed

__all__ = [
    "KINDS",
    "NEEDS",
    "SCALED",
    "Choice",
    "Difference",
    "Pool",
    "RuleSet",
    "Rules",
    "applied_need",
    "at_most",
    "coherent",
    "differences",
    "flat_is_too_short",
    "judge",
    "kind_of",
    "load_rules",
    "read_rules",
    "readout_values",
    "trimmed",
]
