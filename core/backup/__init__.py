"""Backups of workspaces: written, restored, copied, moved to another server, and rehearsed with before an upgrade."""
