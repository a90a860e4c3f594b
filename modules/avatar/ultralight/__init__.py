"""A personal lip-sync network that is trained from the user's own footage."""
