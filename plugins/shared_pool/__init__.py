"""Shared pools: customers that everyone, or some teams, see whoever owns them, and may claim.

Customers come into a pool by hand, or by its rule after a waiting time; they leave it by hand, when the rule no longer
holds, or when somebody claims them. Whom a pool lets in he sees through core's own viewers.
"""
