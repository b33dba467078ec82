"""The page as a part of the application: its door, its routes, and what they reach for."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from transship.api.http.auth import Keyring
from transship.api.page import actions, login, routes
from transship.api.page.board import Board
from transship.api.page.door import PageDoor
from transship.api.page.frame import Page
from transship.api.page.parts import Parts
from transship.api.page.sessions import Seals
from transship.api.services import Services
from transship.workers.runtime.context import WorkerContext

ROUTERS = (routes.router, actions.router, login.router)


class Site:
    """The page of one application."""

    def __init__(self, context: WorkerContext, keyring: Keyring) -> None:
        """Make its door; nothing is served yet."""
        self._home = Path(context.home)
        self._keyring = keyring
        self._seals = Seals(context.sealer)
        self.door = PageDoor(self._seals, context.page_hosts)

    def install(self, app: FastAPI) -> None:
        """Add its routes to *app*, after those of the API."""
        for router in ROUTERS:
            app.include_router(router)

    def open(self, app: FastAPI, services: Services) -> None:
        """Serve it from *services*, which are there from now on."""
        app.state.page = Page(
            self._seals, self.door, Board(Parts(services)), self._keyring, self._home
        )
