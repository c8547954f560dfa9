"""Points that customers earn, spend, and lose where they are not used in time."""
