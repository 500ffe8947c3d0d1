"""Where a chain runs, in its file: `platform`, and the keys of tiers and templates that mean something there.

Refuses to ask Google Cloud anything: whether a group or a template exists is found out by `up` and `roll`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from changeover.model.config_model import ConfigModel
from changeover.model.units import Seconds

GCP_PROGRESS_DEADLINE = 600.0
"""Seconds: `update.progress_deadline` by default on Google Cloud, where a VM boots first and is checked for health by
its balancer after that."""

ResourceName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")]
"""A name as Compute Engine takes it."""


def _endpoint(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address such as https://compute.example.com is needed")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an address without a password, ? and # is needed")
    if parts.path.rstrip("/") not in ("", "/compute/v1"):
        raise ValueError("only version 1 of the API can be used: end the address with the host, or with /compute/v1/")
    return text


class PlatformSettings(ConfigModel):
    """Where instances and load balancers come from."""

    kind: Literal["local", "gcp"] = Field(
        "local",
        description="`local`: processes of this machine behind a HAProxy. `gcp`: managed instance groups of Google "
        "Cloud behind backend services: docs/gcp.md.",
    )
    project: str | None = Field(
        None,
        pattern=r"^([-a-z0-9.]+:)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="On Google Cloud: the project.",
    )
    region: ResourceName | None = Field(None, description="On Google Cloud: the region of regional groups.")
    zone: ResourceName | None = Field(
        None, description="On Google Cloud: the zone of zonal groups, instead of a region."
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        None,
        description="On Google Cloud: another address of the Compute API. Default: the one that gcloud uses "
        "(`CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE`), or Google's. Plain http is for loopback alone, and gets no "
        "credentials.",
    )
    impersonate: str | None = Field(
        None,
        pattern=r"^[^@\s]+@[^@\s]+$",
        description="On Google Cloud: the service account to act as. Default: the Application Default Credentials "
        "themselves.",
    )
    look: Seconds = Field(
        5.0,
        gt=0,
        description="On Google Cloud: time between two looks at a tier that is rolled. A look costs one list of its "
        "group and one question to each of its backend services, of the project's quota.",
    )

    propagation: Seconds = Field(
        10.0,
        ge=0,
        description="On Google Cloud: time from the health that the API reports until the last of Google's proxies "
        "follows it. Google does not publish it. An instance counts as out of traffic only after it was unhealthy in "
        "every backend service for as long.",
    )

    @model_validator(mode="after")
    def _names_its_place(self) -> Self:
        if self.kind == "local":
            for name in type(self).model_fields:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} means something on Google Cloud alone: add `kind: gcp`, or remove it")
            return self
        if self.project is None:
            raise ValueError("Google Cloud needs `project`")
        if (self.region is None) == (self.zone is None):
            raise ValueError("Google Cloud needs `region` or `zone`, exactly one of them")
        return self


class AgentTls(ConfigModel):
    """How the controller asks agents over TLS. The files are PEM and may be renewed at any time."""

    ca: str = Field(
        pattern="^/",
        description="A file with the certificate authorities of the agents' certificates; no others are trusted.",
    )
    certificate: str | None = Field(
        None, pattern="^/", description="The certificate of the controller, of `tls.client_ca` of the agents."
    )
    key: str | None = Field(None, pattern="^/", description="Its key. Default: it is in the file of the certificate.")
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?$",
        description="The name in the agents' certificates. Default: the name of each VM.",
    )

    @model_validator(mode="after")
    def _has_a_certificate(self) -> Self:
        if self.key is not None and self.certificate is None:
            raise ValueError("a key needs its `certificate`")
        return self


class AgentSettings(ConfigModel):
    """The agent on each VM of a tier."""

    port: int = Field(9180, ge=1, le=65535, description="Where it listens.")
    tls: AgentTls | None = Field(
        None,
        description="Ask it over TLS, as `tls` of its agent.yaml has it. With a client certificate it needs no token.",
    )
    token_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable of this command that holds the token of the agents.",
    )
    token_file: str | None = Field(
        None, pattern="^/", description="A file that holds it, from the root. It is read for every question."
    )

    @model_validator(mode="after")
    def _has_one_token(self) -> Self:
        if self.token_env is not None and self.token_file is not None:
            raise ValueError("the token is in token_env or in token_file, not in both")
        return self


class Traffic(ConfigModel):
    """How requests are shared between the two groups of a tier: each behind a backend service of its own."""

    url_map: ResourceName = Field(
        description="The URL map, global or of the region, that names both services in `weightedBackendServices`."
    )
    second_service: ResourceName = Field(
        description="The backend service of `second_group`; `backend_services` names the one of `group`."
    )


class WithGroups:
    """The groups of a tier, and which backend services send them their requests."""

    group: str | None
    second_group: str | None
    traffic: Traffic | None
    backend_services: tuple[str, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Its managed instance groups; none where the chain is not on Google Cloud."""
        return tuple(name for name in (self.group, self.second_group) if name is not None)

    def services_of(self, group: str) -> tuple[str, ...]:
        """The backend services that send one of its groups its requests."""
        if self.traffic is None or group != self.second_group:
            return self.backend_services
        return (self.traffic.second_service,)

    @property
    def services(self) -> tuple[str, ...]:
        """The backend services of all its groups."""
        return tuple(dict.fromkeys(name for group in self.groups for name in self.services_of(group)))


class InstanceTemplate(ConfigModel):
    """A template of a tier on Google Cloud: an instance template, which is immutable there as well."""

    instance_template: str = Field(
        pattern=r"^((global|regions/[-a-z0-9]+)/instanceTemplates/)?[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
        examples=["edge-20261128", "regions/europe-west1/instanceTemplates/edge-20261128"],
        description="Its name, or its path below the project where it is a regional one.",
    )

    @property
    def path(self) -> str:
        """Its path below the project, by which the API's links to it end."""
        given = self.instance_template
        return given if "/" in given else f"global/instanceTemplates/{given}"
