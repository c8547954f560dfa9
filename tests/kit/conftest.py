"""The kit's own fixtures in place of the project's, whose `workspace` has core's tables and nothing else."""

from core.testing.fixtures import as_of, client, one_statement, recorded_hooks, workspace, workspace_for_module

__all__ = ["as_of", "client", "one_statement", "recorded_hooks", "workspace", "workspace_for_module"]
