"""No duplicate through: criteria that block or warn, a report of what is there already, and fuzzy candidates.

A workspace chooses by which values a customer must not be there twice. What is typed is compared as it is meant
(phones as E.164, names without accents and legal forms), contacts included, and of two people who create the same
customer at the same instant exactly one succeeds.
"""
