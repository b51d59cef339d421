"""Draws problems with DeepMind's mathematics_dataset, in a Python of its own: it needs a sympy and numpy of 2019 and 2022.

Reads JSON from stdin: modules, seed, size, folder and jobs, pairs of (level, part). A job becomes one file of JSON lines
[module, question, answer], of `size` problems at most, whole or not at all; its name is printed when it is there. What a
job draws depends on seed, level, part and modules only: not on what was drawn before it.
"""

import hashlib
import json
import math
import os
import random
import sys
import warnings

import numpy as np
import sympy
from mathematics_dataset.modules import modules as library
from sympy.core.cache import clear_cache

SYMBOLIC_GCD = sympy.gcd


def gcd(*values):
    """As sympy's, but of two integers at once: asking for it as of polynomials was half of the time."""
    if len(values) == 2 and all(isinstance(x, (int, sympy.Integer)) for x in values):
        return sympy.Integer(math.gcd(*map(int, values)))
    return SYMBOLIC_GCD(*values)


def samplers(level):
    """Name -> function that draws a problem, all at the difficulty ("entropy") `level`."""
    areas = library.train(lambda _: (level, level))
    return {f"{area}__{name}": draw for area, found in areas.items() for name, draw in found.items()}


def part(level, index, names, seed, size):
    """Rows [module, question, answer]; a module that fails on a draw, as a few of them do, has a row less."""
    key = f"mathematics {seed} {level} {index}"
    random.seed(key)
    np.random.seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big"))
    clear_cache()  # what sympy remembers decides how many random numbers it draws
    draw = samplers(level)
    for turn in range(size):
        name = names[turn % len(names)]
        try:
            problem = draw[name]()
            yield [name, str(problem.question), str(problem.answer)]
        except (ArithmeticError, AttributeError, TypeError, ValueError):
            continue


def main():
    warnings.simplefilter("ignore")
    sympy.gcd = gcd
    task = json.load(sys.stdin)
    known = samplers(5)
    unknown = [name for name in task["modules"] if name not in known]
    if unknown:
        sys.exit(f"data.modules: {unknown[0]!r} is not known. Known: {', '.join(sorted(known))}")
    for level, index in task["jobs"]:
        rows = list(part(level, index, task["modules"], task["seed"], task["size"]))
        path = os.path.join(task["folder"], f"{level}-{index}.jsonl")
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        os.replace(temporary, path)
        print(path, flush=True)


if __name__ == "__main__":
    main()
