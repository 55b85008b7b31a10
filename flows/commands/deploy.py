"""`evergreen deploy`: bring a Prefect server up to date with prefect.yaml and params.yaml, for a work pool of any type.

What is made there stands in flows/deployments.py, which imports Prefect.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import yaml

from evergreen.errors import PipelineError
from flows import HOME
from flows.running import connection

TYPES = ("process", "docker", "kubernetes")


def add_commands(commands: Any) -> None:
    """Add `deploy` to the command line."""
    deploy = commands.add_parser("deploy", help="tell Prefect's server what runs by itself, when, and in which work pool")
    deploy.add_argument("--pool", metavar="NAME", help="work pool, instead of the one in prefect.yaml; made where it is missing")
    deploy.add_argument("--type", choices=TYPES, help="its type, where it is made (default process)")
    deploy.add_argument(
        "--template",
        type=Path,
        metavar="FILE",
        help="its base job template, as JSON (default deploy/prefect/TYPE.json, where there is one)",
    )
    deploy.add_argument(
        "--job-variable", action="append", default=[], metavar="K=V", help="of every deployment, e.g. image=...; may be repeated"
    )
    deploy.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Bring the server up to date and name what is deployed; doing so twice changes nothing."""
    root = Path.cwd()
    variables = dict(variable(word) for word in given.job_variable)
    api = connection.use_api()
    HOME.mkdir(parents=True, exist_ok=True)  # Prefect makes its home when it is imported, but not the folder around it
    from httpx import HTTPStatusError, TransportError

    from flows.deployments import Pool, deploy, read_template

    template = read_template(given.template) if given.template else None
    try:
        names = asyncio.run(deploy(root, Pool(given.pool, given.type, template, variables)))
    except TransportError as fault:
        raise PipelineError(f"Prefect does not answer on {api} ({fault})") from None
    except HTTPStatusError as fault:
        status = fault.response.status_code
        hint = "; name and password belong in PREFECT_API_AUTH_STRING" if status == 401 else ""
        raise PipelineError(f"Prefect refuses on {api} ({status}): {_words(fault.response.text)}{hint}") from None
    print("\n".join(names))


def variable(words: str) -> tuple[str, Any]:
    """Return a job variable's name and value, which is read as YAML: 2 is a number, '"2"' is not."""
    name, equals, value = words.partition("=")
    try:
        if name and equals:
            return name, yaml.safe_load(value)
    except yaml.YAMLError:
        pass
    raise PipelineError(f"--job-variable {words} is no K=V, such as image=evergreen-flows:1.2.0")


def _words(answer: str) -> str:
    """Return what a server says is wrong, without what it was sent."""
    try:
        content = json.loads(answer)
        details = content.get("exception_detail") or content.get("detail") or answer
        return "; ".join(str(one["msg"]) for one in details) if isinstance(details, list) else str(details)[:500]
    except (ValueError, AttributeError, KeyError, TypeError):
        return answer[:500]
