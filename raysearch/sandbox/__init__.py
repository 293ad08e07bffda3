"""Run what nobody has read.

`open_sandbox` gives the sandbox that works on this machine, `warmed` makes it quick for Python scripts; `describe` says
in one sentence how a command in it ended; `read_untrusted` reads what it wrote.
"""

from raysearch.sandbox.describe import describe
from raysearch.sandbox.held import Held
from raysearch.sandbox.interface import Mount, Sandbox
from raysearch.sandbox.opening import open_sandbox
from raysearch.sandbox.untrusted import read_untrusted
from raysearch.sandbox.warm import Warm, warmed

__all__ = ["Held", "Mount", "Sandbox", "Warm", "describe", "open_sandbox", "read_untrusted", "warmed"]
