"""The order in which several workers of pytest take the files of tests: a long file that begins last prolongs the run.

Files that share a chain which takes seconds to start go to one worker, so that it starts once. A file that is not
listed is taken after those that are; a name that is listed and does not exist is refused.
"""

from __future__ import annotations

from pathlib import Path

from xdist.scheduler import LoadFileScheduling

TESTS = Path(__file__).parent

SHARED = {
    "rolled": ("in_flight", "json", "uploads", "deaths", "plan", "affinity"),
    "two tiers": ("kills", "way_back", "faults", "unattended"),
    "resting": ("up_status_down", "refused", "listeners"),
}
"""Files of tests/chain, by the fixture of its conftest that they share."""

LONGEST = (
    *(f"chain/test_{name}.py" for name in (*SHARED["rolled"], *SHARED["two tiers"])),
    "gcp/test_roll_faults.py",
    "chain/test_guard.py",
    "chain/test_page.py",
    "chain/test_watched.py",
    "gcp/test_blue_green.py",
    "gcp/test_weights.py",
    "gcp/test_kills.py",
    "gcp/test_real_agent.py",
    "chain/test_own_proxies.py",
    "gcp/test_roll.py",
    "outside/test_rolls.py",
    "process/test_listening.py",
    "chain/test_whole_job.py",
    "process/test_application_servers.py",
    "gcp/test_regional_roll.py",
    "process/test_dying_versions.py",
    "gcp/test_preconditions.py",
    "kong/test_in_flight.py",
    "chain/test_branches.py",
    "chain/test_any_application.py",
    "chain/test_own_nginx.py",
    "chain/test_hooks.py",
    "chain/test_preview.py",
    "chain/test_long_lived.py",
    "chain/test_relay.py",
    "process/test_foreign_guard.py",
    "chain/test_takeover_of_older_state.py",
    *(f"chain/test_{name}.py" for name in SHARED["resting"]),
    "kong/test_roll.py",
    "process/test_own_application.py",
    "chain/test_units.py",
    "kong/test_tier.py",
    "chain/test_nothing_left.py",
    "chain/test_environment.py",
    "process/test_faulty_starts.py",
    "gcp/test_gcloud.py",
)
"""By the seconds that they take, within about a third."""

_PLACES = {TESTS / name: place for place, name in enumerate(LONGEST)}
_GROUPS = {f"tests/chain/test_{name}.py": group for group, names in SHARED.items() for name in names}

if missing := [str(file) for file in _PLACES if not file.exists()]:
    raise FileNotFoundError(f"tests/order.py lists files that do not exist: {missing}")


def place(file: Path) -> int:
    return _PLACES.get(file, len(_PLACES))


class Scheduling(LoadFileScheduling):
    """As `--dist loadfile`, and the files of one group of SHARED go to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return _GROUPS.get(file, file)
