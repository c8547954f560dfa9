"""The commands of `crm`, one noun a file."""
