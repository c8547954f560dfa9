"""A plugin that implements every hook and does nothing: a page of reference in code."""
