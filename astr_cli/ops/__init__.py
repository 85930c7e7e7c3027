"""Tensor operators behind one public function each; they know tensors only.

`spot_attention`  attention of every query to the union of its spot windows (spec: paper section 3.2, supplement 1)
`dual_softmax`  the matching matrix of two images' features, with masks
"""

from astr_cli.ops.attention import spot_attention
from astr_cli.ops.matching import BestMatches, DualSoftmax, dual_softmax

__all__ = ["BestMatches", "DualSoftmax", "dual_softmax", "spot_attention"]
