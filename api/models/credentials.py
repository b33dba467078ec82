"""Credentials for registries, as they are sent."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CredentialBody(BaseModel):
    """How to sign in at one registry: a name and a password, or a token of the registry's."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    username: str = ""
    password: str = Field(default="", repr=False)
    identity_token: str = Field(default="", repr=False)
    registry_token: str = Field(default="", repr=False)
