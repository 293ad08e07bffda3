"""What agents are told: a system prompt and a prompt for each role, from the templates in this package."""

from raysearch.agents.prompts.rendering import (
    BACKENDS,
    INTERFACES,
    MODALITIES,
    ROLES,
    Backend,
    Interface,
    Modality,
    Prompt,
    PromptError,
    render,
)

__all__ = [
    "BACKENDS",
    "INTERFACES",
    "MODALITIES",
    "ROLES",
    "Backend",
    "Interface",
    "Modality",
    "Prompt",
    "PromptError",
    "render",
]
