"""Mixed load for a long time: what the server uses has to stay level."""
