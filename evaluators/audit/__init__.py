"""Cheating audits: judges that refuse programs whose numbers would not be true.

`evaluators.audit.judge.Audit` reads a program's files; `evaluators.audit.traced.Traced` watches it while the target's
own checker and benchmark run it once more; `evaluators.audit.holdout.Holdout` asks again with inputs that the run uses
nowhere else. docs/audit.md says what each sees, and what none does.
"""

from evaluators.audit.judge import Audit
from evaluators.audit.signs import RULES, Sign

__all__ = ["RULES", "Audit", "Sign"]
