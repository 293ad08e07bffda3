"""Keys of model providers: where they come from, and that they go no further than they must.

A key is looked up where it is used, by the process that calls the provider: in that process's own environment, then
in a ``.env`` file. It is never part of a configuration, of a job or of a plug-in's options, so it is in no journal and
in no message between processes.
"""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from raysearch.errors import ConfigError

NAMES: Mapping[str, str] = {
    "ANTHROPIC_API_KEY": "Claude models, over the API and in Claude Code",
    "OPENAI_API_KEY": "GPT models, over the API and in Codex",
    "GEMINI_API_KEY": "Gemini models, over the API and in Gemini CLI",
    "GOOGLE_API_KEY": "the same under its other name; also Vertex AI in express mode",
}
"""What is looked up, and what for."""
ENV_FILE = "RAYSEARCH_ENV_FILE"
"""Names the file to read in place of the nearest ``.env``."""
REDACTED = "[redacted]"
SHORTEST = 8
"""A shorter value cannot be told from ordinary text, and is no key."""
_SECRET = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)")


def credential(name: str, folder: Path | None = None) -> str | None:
    """The value of ``name`` in the environment, or else in the ``.env`` file (`env_file`); None if neither has it.

    Raises ConfigError if the file cannot be read.
    """
    return os.environ.get(name) or _file(folder).get(name) or None


def env_file(folder: Path | None = None) -> Path | None:
    """The file that ``RAYSEARCH_ENV_FILE`` names, or the nearest ``.env`` in ``folder`` (the working one) or above."""
    named = os.environ.get(ENV_FILE)
    if named:
        return Path(named)
    start = (folder or Path.cwd()).absolute()
    return next((place / ".env" for place in (start, *start.parents) if (place / ".env").is_file()), None)


@contextmanager
def located(folder: Path | None) -> Iterator[None]:
    """Meanwhile, this process and what it starts read the ``.env`` nearest to ``folder``, else to the working one.

    What they get is the file's name, never what is in it. ``RAYSEARCH_ENV_FILE`` that is set already stays.
    """
    found = None if ENV_FILE in os.environ else (folder and env_file(folder)) or env_file()
    if found is not None:
        os.environ[ENV_FILE] = str(found)
    try:
        yield
    finally:
        if found is not None:
            del os.environ[ENV_FILE]


def secrets(folder: Path | None = None) -> tuple[str, ...]:
    """Every value that must not be written down: of the known names and of all that are named like a key."""
    values = {**_file(folder), **os.environ}
    found = {value for name, value in values.items() if value and (name in NAMES or _SECRET.search(name))}
    return tuple(sorted((value for value in found if len(value) >= SHORTEST), key=lambda v: (-len(v), v)))


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` without any of ``secrets``, as they are or as JSON, URLs and base64 have them."""
    for secret in secrets:
        for spelt in _spellings(secret):
            text = text.replace(spelt, REDACTED)
    return text


def scrub(folder: Path, secrets: Iterable[str]) -> list[Path]:
    """Redact every file below ``folder``, byte for byte; the files that held a secret, relative to ``folder``."""
    spelt = [spelling.encode() for secret in secrets for spelling in _spellings(secret)]
    changed = []
    for place in holding(folder, spelt):
        content = place.read_bytes()
        for each in spelt:
            content = content.replace(each, REDACTED.encode())
        place.write_bytes(content)
        changed.append(place.relative_to(folder))
    return changed


def leaks(folder: Path, secrets: Iterable[str]) -> list[Path]:
    """Files below ``folder`` that hold a secret, or have one in their name, relative to it."""
    spelt = [spelling.encode() for secret in secrets for spelling in _spellings(secret)]
    named = [place for place in folder.rglob("*") if any(each in os.fsencode(place.name) for each in spelt)]
    return sorted({place.relative_to(folder) for place in (*named, *holding(folder, spelt))})


def holding(folder: Path, words: Iterable[bytes]) -> Iterator[Path]:
    """Regular files below ``folder`` with any of ``words`` in them, in order of path; links are not followed."""
    wanted = list(words)
    for place in sorted(folder.rglob("*")) if wanted else ():
        if place.is_file() and not place.is_symlink():
            content = place.read_bytes()
            if any(word in content for word in wanted):
                yield place


def _spellings(secret: str) -> list[str]:
    """The secret as it is, and as it comes out of the usual encodings, longest first."""
    if len(secret) < SHORTEST:
        return []
    found = {secret, json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe="")}
    found.add(base64.b64encode(secret.encode()).decode().rstrip("="))
    return sorted(found, key=lambda text: (-len(text), text))


def _file(folder: Path | None) -> dict[str, str]:
    place = env_file(folder)
    if place is None:
        return {}
    from dotenv import dotenv_values

    try:
        with place.open(encoding="utf-8") as stream:
            found = dotenv_values(stream=stream, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{place}: the credentials in it cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}"
        ) from None
    return {name: value for name, value in found.items() if value}
