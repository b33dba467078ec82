"""What a mirror is to copy: policies from files, which tags they select, the plan, the report.

Nothing here asks a registry or a database; `transship.workers.handlers.mirror` does.
"""
