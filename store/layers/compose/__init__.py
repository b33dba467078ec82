"""File systems that layers add up to, as metadata."""
