"""Celery and Redis: the application, the wire, rates, submissions from the broker."""
