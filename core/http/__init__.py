"""The HTTP surface: GraphQL over HTTP, pages, health and metrics."""
