"""Customer groups in families, such as Region: North, South, or Age: 15-25.

A customer is in any number of groups. They are shown on customers, filter them (in all, in one, outside one, in
none of a list of groups), carry points, and are moved, added and removed in bulk.
"""
