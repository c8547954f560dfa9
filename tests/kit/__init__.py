"""The test kit, as plugins use it."""
