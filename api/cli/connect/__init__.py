"""How a command finds its server, and what it takes from files and options."""
