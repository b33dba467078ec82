"""Whether a registry takes a login: one request to /v2/, as `docker login` makes it."""

from __future__ import annotations

from transship.workers.registry.auth.credentials import Credential
from transship.workers.registry.network import Network
from transship.workers.registry.session import Ask, Session
from transship.workers.registry.transport.errors import answer_error, refuse_html
from transship.workers.registry.transport.hosts import RegistryHost
from transship.workers.registry.transport.responses import discard


def check_login(network: Network, registry: RegistryHost, credential: Credential) -> bool:
    """Sign in at *registry*, and say whether it has asked for that.

    Raises:
        UnauthorizedError, DeniedError: it does not accept *credential*.
        RegistryError: it cannot be reached, or does not answer as a registry.
    """
    session = Session(network, registry, "", credential)
    asked = session.asked(registry.name, "GET /v2/")
    answer = session.send(Ask(method="GET", target="/", scopes=(), asked=asked))
    try:
        if answer.status != 200:
            raise answer_error(answer.response, asked)
        refuse_html(answer.response, asked)
        discard(answer.response)
    finally:
        answer.response.close()
    return network.authenticator.has_asked(registry, credential)
