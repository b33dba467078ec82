"""Makes a job of what a command was given: options into a spec, with the user's credentials."""

from __future__ import annotations

from typing import Any

from transship.api.cli.logins import logins, own_config


def ask(spec: dict[str, Any], options: dict[str, Any]) -> int:
    """Submit *spec*, completed by the *options* of `job_options`, and follow the job to its end.

    Options for platforms are taken where the command has them. The user's own credentials for the
    registries of the job go with it, and no others.
    """
    from transship.api.cli.output.follow import run_job  # noqa: PLC0415 -- --help needs none of it

    if "platforms" in options:
        spec["platforms"] = list(options.pop("platforms"))
        spec["all_platforms"] = options.pop("all_platforms")
    for name in ("priority", "deadline"):
        value = options.pop(name)
        if value is not None:
            spec[name] = value
    return run_job(spec, credentials=_logins(spec), **options)


def _logins(spec: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The user's own logins for the registries of *spec*.

    It is checked where there are some, or where no server would check it: nothing is started for a
    command that cannot be. To check costs twice as much as all the rest of a command.

    Raises:
        InvalidSpecError: it cannot be.
    """
    from transship.api.cli.connect.target import Target  # noqa: PLC0415 -- --help needs none of it

    config = own_config()
    if not config.sources and Target.load().may_be_served:
        return {}
    from transship.workers.specs import parse_spec  # noqa: PLC0415

    return logins(config, parse_spec(spec).registries)
