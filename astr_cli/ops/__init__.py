"""Tensor operators behind one public function each; they know tensors only.

`spot_attention`  attention of every query to the union of its spot windows (paper section 3.2, supplement 1)
`table_attention`, `list_attention`  the same over any lists of keys: a padded table, or CSR rows
`sampled_scores`  the scores of listed pairs
`dual_softmax`  the matching matrix of two images' features, with masks, never held whole

`backends` chooses the implementation of a call; ASTR_ATTENTION overrides it.
"""
