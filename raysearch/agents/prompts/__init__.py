"""What agents are told: a system prompt and a prompt for each role, from the templates in this package."""

from raysearch.agents.prompts.rendering import (
    ROLES,
    Prompt,
    PromptError,
    render,
)

__all__ = [
    "ROLES",
    "Prompt",
    "PromptError",
    "render",
]
