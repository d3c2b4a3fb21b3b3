"""Scenario: the import of a package alone, in a fresh process: `python -I benchmarks/imports.py PACKAGE`.

Nothing else is loaded before it, not even `json`.
"""

import sys
import time

begin = time.process_time(), time.perf_counter()
__import__(sys.argv[1])
cpu, wall = time.process_time() - begin[0], time.perf_counter() - begin[1]

if __name__ == "__main__":
    print(f'{{"figures": {{"import": {{"cpu": {cpu}, "wall": {wall}}}}}, "texts": []}}')
