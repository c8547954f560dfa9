"""Programs and plugins that show how; none of it is installed."""
