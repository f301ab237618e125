#!/usr/bin/env python3
"""Folders use each other as docs/architecture.md says, and libjudgeq.a shows public names only: test_layout.py LIBRARY"""

import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARY = sys.argv.pop()
# Where an include is looked for after its own folder, as the build looks.
PLACES = ("include", "src", ".", "eval")


def allowed():
    """Folder -> the folders that it may use, from the table under "Folders"."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.split("\n## Folders\n")[1].split("\n\n## ")[0]
    rows = re.findall(r"^\| `([\w/]+)` \| (.*?) \|", table.split("| folder | may use |")[1].split("\n\n")[0], re.MULTILINE)
    return {folder: set(re.findall(r"`([\w/]+)`", uses)) for folder, uses in rows}


def sources(folder):
    return [path for ending in ("c", "cpp", "h") for path in (ROOT / folder).glob(f"*.{ending}")]


def target(path, name):
    """The folder of an included file, or None where it is no file of ours."""
    for place in (path.parent, *(ROOT / place for place in PLACES)):
        if (place / name).is_file():
            return (place / name).resolve().parent.relative_to(ROOT).as_posix()
    return None


class Layout(unittest.TestCase):
    def test_every_folder_has_a_row(self):
        folders = {path.parent.relative_to(ROOT).as_posix() for top in ("src", "plot", "app", "eval", "report", "server", "cli", "examples")
                   for path in (ROOT / top).rglob("*.[ch]")}
        self.assertEqual(folders, set(allowed()))
        self.assertEqual(sources("src"), [], "a file of the library belongs to a folder of src/")

    def test_includes(self):
        rows, n_include = allowed(), 0
        for folder, uses in rows.items():
            for path in sources(folder):
                for name in re.findall(r'^\s*#include "(.*?)"', path.read_text(encoding="utf-8"), re.MULTILINE):
                    found = target(path, name)
                    n_include += 1
                    if found not in (None, folder, "include"):
                        self.assertIn(found, uses, f"{path.relative_to(ROOT)} includes {name}")
        self.assertGreater(n_include, 500)

    def test_no_way_back(self):
        """A row's folders stand above it, so that the arrows between folders point one way."""
        above = set()
        for folder, uses in allowed().items():
            self.assertLessEqual(uses, above, folder)
            above.add(folder)

    def test_app_and_server_do_not_print(self):
        """A server has no terminal: what is to be said goes to a callback."""
        for path in sources("app") + sources("server"):
            printed = re.findall(r"\b(?:stdout|stderr)\b|\b(?:perror|v?[df]?printf|puts|putchar)\(",
                                 path.read_text(encoding="utf-8"))
            self.assertEqual(printed, [], path.name)

    def test_symbols(self):
        lines = subprocess.run(["nm", "--defined-only", "--extern-only", LIBRARY], capture_output=True, text=True,
                               check=True).stdout.splitlines()
        names = [line.split()[-1] for line in lines if len(line.split()) == 3]
        self.assertIn("judgeq_model_load", names)
        self.assertEqual([name for name in names if not name.startswith("judgeq_")], [])
        header = (ROOT / "include/judgeq.h").read_text(encoding="utf-8")
        self.assertEqual([name for name in names if not re.search(rf"\b{name}\(", header)], [])


if __name__ == "__main__":
    unittest.main()
