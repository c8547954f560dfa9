"""What GraphQL shows: the core's record types and what turns declarations and selections into answers."""
