"""The operators' page: HTML of what the API tells, kept current while somebody looks."""
