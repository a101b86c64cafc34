"""A program of its own: boots a kernel once, in a sandbox, and writes down what it showed.

Apart from the process that fetches, which needs the machine's network and may run threads that a
sandbox's fork would not survive.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lvslab.errors import LvslabError
from lvslab.exitcodes import ExitCode
from lvslab.host import sandbox
from lvslab.kernels import kinds, probe


def main(directory: Path, console: Path, result: Path) -> int:
    """Try the kernel in a directory (`kinds.kernel_at`) and write `result`: the finding, or
    {"error": message}.
    """

    def work() -> int:
        try:
            trial = probe.try_kernel(kinds.kernel_at(directory), console)
        except LvslabError as error:
            result.write_text(json.dumps({"error": str(error)}))
            return error.exit_code
        found = {
            "extra_arguments": trial.kernel.extra_arguments,
            "boot_seconds": round(trial.boot_seconds, 3),
            "facts": probe.facts_to_json(trial.facts),
            "schedulers": trial.schedulers,
        }
        result.write_text(json.dumps(found))
        return ExitCode.OK

    try:
        return sandbox.run(work)
    except LvslabError as error:
        result.write_text(json.dumps({"error": str(error)}))
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
