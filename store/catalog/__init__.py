"""The truth: one SQL database that says what is held and what is to be done."""
