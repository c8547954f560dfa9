"""Plugins that are broken, each in its own way, and a few good ones to go with them."""
