"""What every profiler must keep to; see `raysearch.testing.conformance`."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import get_args

from raysearch.errors import Fault, Refused
from raysearch.profile import Bound, Profile
from raysearch.protocols import Profiler
from raysearch.testing.on_programs import OnUnchangedPrograms, evaluated
from raysearch.testing.surroundings import undisturbed
from raysearch.testing.workspace import FolderWorkspace


class ProfilerConformance(OnUnchangedPrograms):
    """For who explains where time goes. Override ``make``; also ``target``, ``program`` and ``bad_programs``."""

    def make(self) -> Profiler:
        """A new profiler at each call."""
        raise NotImplementedError("say how to make the profiler: def make(self): return Mine()")

    def test_its_findings_are_shares_of_a_run(self, tmp_path: Path) -> None:
        """A `raysearch.Profile`: shares from 0 to 1, together at most 1, the largest first; times are finite."""
        profile = self._profiled(self._workspace(tmp_path))
        assert isinstance(profile, Profile), f"profile() returned {type(profile).__name__}, not a Profile"
        assert profile.tool.strip(), "Profile.tool is empty: name what looked"
        shares = [finding.share for finding in profile.findings]
        assert all(0 <= share <= 1 for share in shares), f"shares are from 0 to 1, not {shares}"
        assert sum(shares) <= 1 + 1e-6, f"shares add up to {sum(shares)}: count what a component does itself, once"
        assert shares == sorted(shares, reverse=True), f"the largest share comes first, not {shares}"
        times = (profile.total_s, 1.0 if profile.slowdown is None else profile.slowdown)
        assert all(math.isfinite(time) and time > 0 for time in times), f"total_s and slowdown are above 0, not {times}"

    def test_its_findings_are_in_the_terms_of_all(self, tmp_path: Path) -> None:
        """Named components, shares that are plain floats, and a bound that others use too."""
        for finding in self._profiled(self._workspace(tmp_path)).findings:
            known = get_args(Bound)
            assert finding.component.strip(), "a finding without a component explains nothing"
            assert type(finding.share) is float, f"{finding.component}: convert its share with float()"
            assert finding.bound in known, f"{finding.component}: its bound {finding.bound!r} is none of {known}"

    def test_a_bad_program_is_no_crash(self, tmp_path: Path) -> None:
        """Refused where the program is why there is no profile, a Fault where the tool is; nothing else is raised."""
        for number, (wrong, files) in enumerate(self.bad_programs().items()):
            reason = "a profile"
            try:
                self._profiled(self._workspace(tmp_path / str(number), files))
            except (Fault, Refused) as error:
                reason = str(error)
            except Exception as error:
                raise AssertionError(f"{wrong}: it raised {type(error).__name__}: {error}. Raise Refused") from error
            assert reason.strip(), f"{wrong}: it raised Refused or a Fault without saying why"

    def test_any_focus_will_do(self, tmp_path: Path) -> None:
        """The focus is what somebody asks in words: a name that is there, one that is not, or nonsense."""
        for number, focus in enumerate((next(iter(self.program()), ""), "no such thing", "%s {x} \\ [", "ü" * 1000)):
            self._profiled(self._workspace(tmp_path / str(number)), focus)

    def test_it_leaves_all_as_it_was(self, tmp_path: Path) -> None:
        """Program and target are read-only, captures go to workspace.artifacts, no threads or processes stay."""
        workspace = self._workspace(tmp_path)
        before = evaluated(workspace)
        with undisturbed("the profiler"):
            self._profiled(workspace)
        self._untouched(workspace, before)

    def _profiled(self, workspace: FolderWorkspace, focus: str = "") -> Profile:
        return self.make().profile(workspace, focus, random.Random(5))
