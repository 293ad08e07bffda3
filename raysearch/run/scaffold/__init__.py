"""Makes target folders: one that is sound as it is, to put one's own into; and one around an existing git project."""

from raysearch.run.scaffold.fresh import scaffold
from raysearch.run.scaffold.project import Project, scaffold_project

__all__ = ["Project", "scaffold", "scaffold_project"]
