"""What can be wrong with a JSON file: every field in turn replaced by values of other kinds and out of every range, or gone."""

import copy
import os
import stat

GONE = object()
VALUES = [None, True, -1, 0, 0.5, -1e300, 1e300, 2**62, "", "x", "1e9", [], [None], [[]], ["x", 7], {}, {"a": [1]}, GONE]


def places(value, path=()):
    """The path of every field and of every array's first and last element."""
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = [(i, value[i]) for i in sorted({0, len(value) - 1}) if value]
    else:
        inner = ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def replaced(whole, path, value):
    """A copy with the value at the path; without the field or element for GONE."""
    whole = copy.deepcopy(whole)
    within = whole
    for key in path[:-1]:
        within = within[key]
    if value is GONE:
        del within[path[-1]]
    else:
        within[path[-1]] = value
    return whole


def write_stub(folder):
    """A program gnuplot in the folder that draws nothing, at once."""
    path = os.path.join(folder, "gnuplot")
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\necho '<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"/>'\n")
    os.chmod(path, stat.S_IRWXU)
