"""Realistic Vietnamese demo data, made from a seed: no database, no clock, no files."""

from core.demo.generate import DemoData, generate
from core.demo.shapes import Contact, Customer, Group, Opportunity, Team, User

__all__ = ["Contact", "Customer", "DemoData", "Group", "Opportunity", "Team", "User", "generate"]
