"""What the tool `search` runs, in the sandbox: there an endless pattern is ended, and no link leads anywhere.

The script takes folders as arguments, each as ``NAME=PATH``, and prints ``NAME/file:line: text``.
"""

from __future__ import annotations

MATCHES_MAX = 200
LINE_CHARS = 300
SCRIPT = """
import fnmatch, os, re, stat, sys
pattern, glob, most, width = os.environ["SEARCH_PATTERN"], os.environ["SEARCH_GLOB"], int(sys.argv[1]), int(sys.argv[2])
try:
    wanted = re.compile(pattern)
except (re.error, OverflowError, RecursionError) as error:
    sys.exit(f"no regular expression: {error}")
found = 0
for root in sys.argv[3:]:
    shown, _, folder = root.partition("=")
    for place, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name not in (".git", "__pycache__"))
        for name in sorted(files):
            path = os.path.join(place, name)
            inner = os.path.relpath(path, folder)
            if glob and not (fnmatch.fnmatchcase(inner, glob) or fnmatch.fnmatchcase(name, glob)):
                continue
            try:
                about = os.lstat(path)
                if not stat.S_ISREG(about.st_mode) or about.st_size > 4_000_000:
                    continue
                content = open(path, "rb").read()
            except OSError:
                continue
            if b"\\0" in content:
                continue
            for number, line in enumerate(content.decode(errors="replace").split("\\n"), 1):
                if wanted.search(line):
                    found += 1
                    if found <= most:
                        sys.stdout.write(f"{shown}{inner}:{number}: {line[:width]}\\n")
if found > most:
    print(f"... {found - most} more")
if not found:
    print("no match")
"""
