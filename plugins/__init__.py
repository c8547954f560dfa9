"""The plugins that come with headless-crm; each could as well be a package of its own."""
