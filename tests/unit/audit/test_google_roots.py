"""Many roots of Terraform in one audit: each has addresses of its own, and the joins are quick."""

from __future__ import annotations

import time

from tests.unit.audit.expectations import audited, documents

from changeover.audit.google.resources import google

ROOT = """\
resource "google_compute_backend_service" "web" {
  name = "web"
  protocol = "HTTP"
  connection_draining_timeout_sec = %d
  backend { group = google_compute_region_instance_group_manager.web.instance_group }
}
resource "google_compute_region_instance_group_manager" "web" {
  name = "web"
}
"""


def test_resources_of_the_same_address_are_joined_within_their_own_root() -> None:
    files = {"shop/main.tf": ROOT % 900, "blog/main.tf": ROOT % 600}
    found = google(documents(files))
    joined = [
        (manager.place.file, [service.place.file for service in found.services(manager)])
        for manager in found.of("instanceGroupManager")
    ]
    assert joined == [(file, [file]) for file in files]
    assert "GCP05" not in {one.rule.id for one in audited(files).judged}


def test_a_reference_to_another_folder_is_found_where_no_own_resource_has_the_name() -> None:
    service, manager = (ROOT % 900).split("resource")[1:]
    found = google(documents({"lb/main.tf": f"resource{service}", "group/main.tf": f"resource{manager}"}))
    (group,) = found.of("instanceGroupManager")
    assert [one.place.file for one in found.services(group)] == ["lb/main.tf"]


def test_a_thousand_roots_are_joined_in_a_short_time() -> None:
    found = google(documents({f"{number}/main.tf": ROOT % 900 for number in range(1000)}))
    begin = time.process_time()
    assert [len(found.services(one)) for one in found.of("instanceGroupManager")] == [1] * 1000
    assert time.process_time() - begin < 2  # each pair of them was compared: 10 s
