"""Tensor operators behind one public function each; they know tensors only.

`spot_attention`  attention of every query to the union of its spot windows (paper section 3.2, supplement 1)
`table_attention`, `list_attention`  the same over any lists of keys: a padded table, or CSR rows
`sampled_scores`  the scores of listed pairs
`dual_softmax`  the matching matrix of two images' features, with masks, never held whole

What serves a call is chosen in `backends`; ASTR_ATTENTION overrides it.
"""

from astr_cli.ops.attention import list_attention, sampled_scores, spot_attention, table_attention
from astr_cli.ops.matching import BestMatches, DualSoftmax, dual_softmax

__all__ = [
    "BestMatches",
    "DualSoftmax",
    "dual_softmax",
    "list_attention",
    "sampled_scores",
    "spot_attention",
    "table_attention",
]
