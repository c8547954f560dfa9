"""Customer tiers, such as Silver and Gold, with ranks and benefits.

A customer has one tier at most. With `auto`, a tier takes in whoever comes to satisfy its rule, unless he has a higher
one; nobody goes down by himself unless the workspace allows it, and a pinned tier stays. By hand, any tier is given.
"""
