"""The Helm chart: who runs as whom, what is reachable, what is on the disk."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from auditflow.config import load

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "auditflow"
ROLE = "arn:aws:iam::111111111111:role/AuditFlowSourceRole"
ANNOTATED = {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": ROLE}}}
EVERYTHING = ANNOTATED | {
    "image": {"repository": "auditflow", "digest": f"sha256:{'0' * 64}", "pullSecrets": [{"name": "pull"}]},
    "ingest": {
        "ingress": {"enabled": True, "className": "alb", "annotations": {"a": "b"}, "tlsSecret": "cert"},
        "extraEnv": [{"name": "A", "value": "b"}],
        "envFrom": [{"secretRef": {"name": "s"}}],
        "podAnnotations": {"prometheus.io/scrape": "true"},
    },
    "delivery": {
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "envFrom": [{"secretRef": {"name": "auditflow-aws"}}],
        "podAnnotations": {"a": "b"},
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
    },
    "persistence": {"storageClass": "gp3", "keep": False},
    "listenAddress": "::",
    "podDisruptionBudget": {"maxUnavailable": 0},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"operator": "Exists"}],
    "priorityClassName": "high",
}
VALUES = [
    pytest.param({}, id="defaults"),
    pytest.param(EVERYTHING, id="everything"),
    pytest.param({"persistence": {"existingClaim": "mine"}, "serviceAccount": {"create": False}}, id="own"),
]
ROLES = ("ingest", "delivery")


def pipeline(**properties: str) -> dict[str, Any]:
    required = {"log-group": "/aws/auditflow/production", "log-stream": "events"}
    return {"name": "p", "sink": {"name": "aws_cloudwatch_sink", "properties": required | properties}}


def option(pod: dict[str, Any], name: str) -> str | None:
    given = dict(argument.partition("=")[::2] for argument in pod["containers"][0]["args"])
    return given.get(f"--{name}")


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_to_complain_about(values):
    report = helm_python.lint(CHART, values, strict=True, namespace="labs64io")
    assert report["errors"] == []
    assert {message["error"] for message in report["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("version", ["1.25", "1.30", "1.37"])
def test_every_manifest_is_valid_for_kubernetes(render, values, version):
    manifests = render(values)
    assert len(manifests) >= 10
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("values", VALUES)
def test_the_rendered_yaml_is_well_formed(render_texts, values, tmp_path):
    for index, (template, text) in enumerate(render_texts(values).items()):
        if not template.endswith("NOTES.txt"):
            (tmp_path / f"{index}-{Path(template).name}").write_text(text)
    # Helm indents lists its own way and leaves blank lines where a template begins or ends
    rules = "{extends: relaxed, rules: {empty-lines: disable, indentation: disable, line-length: {max: 130}}}"
    done = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "-d", rules, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("values", VALUES)
def test_every_name_that_is_referred_to_exists(render, values):
    manifests = render(values)
    names = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    names |= (
        {("PersistentVolumeClaim", "mine")} if "existingClaim" in values.get("persistence", {}) else set()
    )
    names |= {("ServiceAccount", "auditflow-sink")}
    for role in ROLES:
        pod = manifests.pod(role)
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert ("ServiceAccount", pod["serviceAccountName"]) in names
        assert ("ConfigMap", volumes["config"]["configMap"]["name"]) in names
        assert ("PersistentVolumeClaim", volumes["journal"]["persistentVolumeClaim"]["claimName"]) in names
        assert all(mount["name"] in volumes for mount in pod["containers"][0]["volumeMounts"])
    for one in manifests:
        assert one["metadata"]["namespace"] == "labs64io"


def test_the_service_account_of_the_guide_comes_out_as_the_guide_prints_it(render):
    account = render(ANNOTATED).get("ServiceAccount", "auditflow-sink")
    assert account["apiVersion"] == "v1"
    assert account["metadata"]["namespace"] == "labs64io"
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": ROLE}


def test_only_delivery_runs_as_the_annotated_service_account(render):
    manifests = render(ANNOTATED)
    annotated = [
        one["metadata"]["name"] for one in manifests.of("ServiceAccount") if "annotations" in one["metadata"]
    ]
    assert annotated == ["auditflow-sink"]
    assert manifests.pod("delivery")["serviceAccountName"] == "auditflow-sink"
    assert manifests.pod("ingest")["serviceAccountName"] == "auditflow-ingest"


@pytest.mark.parametrize("values", VALUES)
def test_no_pod_gets_a_token_for_the_kubernetes_api(render, values):
    manifests = render(values)
    assert all(manifests.pod(role)["automountServiceAccountToken"] is False for role in ROLES)
    assert all(one["automountServiceAccountToken"] is False for one in manifests.of("ServiceAccount"))


@pytest.mark.parametrize("values", VALUES)
def test_the_sink_service_is_reachable_from_inside_the_cluster_only(render, values):
    manifests = render(values)
    services = {one["metadata"]["name"]: one["spec"] for one in manifests.of("Service")}
    assert {spec["type"] for spec in services.values()} == {"ClusterIP"}
    assert [name for name, spec in services.items() if spec["ports"][0]["port"] == 8082] == [
        "auditflow-delivery"
    ]
    backends = [
        path["backend"]["service"]["name"]
        for ingress in manifests.of("Ingress")
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    assert set(backends) <= {"auditflow-ingest"}
    assert not any(
        port.get("hostPort") for role in ROLES for port in manifests.pod(role)["containers"][0]["ports"]
    )
    assert not any(manifests.pod(role).get("hostNetwork") for role in ROLES)


def test_only_labelled_pods_may_call_the_sink_service(render):
    manifests = render(
        {"sinkService": {"clientLabels": {"auditflow.io/sink-client": "true", "team": "audit"}}}
    )
    policy = manifests.get("NetworkPolicy", "auditflow-delivery")["spec"]
    labels = manifests.get("Deployment", "auditflow-delivery")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"] == [
        {
            "from": [{"podSelector": {"matchLabels": {"auditflow.io/sink-client": "true", "team": "audit"}}}],
            "ports": [{"protocol": "TCP", "port": 8082}],
        }
    ]


def test_a_service_finds_the_pods_of_its_role_and_no_others(render):
    manifests = render()
    labels = {
        role: manifests.get("Deployment", f"auditflow-{role}")["spec"]["template"]["metadata"]["labels"]
        for role in ROLES
    }
    for kind, selector in (("Service", ("selector",)), ("PodDisruptionBudget", ("selector", "matchLabels"))):
        for role in ROLES:
            wanted = manifests.get(kind, f"auditflow-{role}")["spec"]
            for step in selector:
                wanted = wanted[step]
            assert [other for other in ROLES if wanted.items() <= labels[other].items()] == [role]


def test_the_ingress_is_off_until_asked_for_and_passes_on_publishing_alone(render):
    assert not render().of("Ingress")
    (rule,) = render(EVERYTHING).get("Ingress", "auditflow-ingest")["spec"]["rules"]
    paths = {(path["path"], path["pathType"]) for path in rule["http"]["paths"]}
    assert paths == {("/audit/publish", "Exact"), ("/api/v1/audit/publish", "Exact")}


def test_ingest_is_found_while_its_journal_refuses_events(render):
    assert render().get("Service", "auditflow-ingest")["spec"]["publishNotReadyAddresses"] is True


def test_both_pods_share_one_volume_and_the_node_that_has_it(render):
    manifests = render()
    assert manifests.get("PersistentVolumeClaim", "auditflow-journal")["spec"]["accessModes"] == [
        "ReadWriteOnce"
    ]
    terms = []
    for role in ROLES:
        template = manifests.get("Deployment", f"auditflow-{role}")["spec"]["template"]
        affinity = template["spec"]["affinity"]["podAffinity"]
        (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        # it matches the pod itself: without that the first of the two could never be scheduled
        assert term["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        terms.append(term)
        claims = [volume.get("persistentVolumeClaim") for volume in template["spec"]["volumes"]]
        assert {"claimName": "auditflow-journal"} in claims
        assert option(template["spec"], "data-dir") == "/data"
    assert terms[0] == terms[1]


def test_there_is_never_a_second_writer(render):
    for deployment in render().of("Deployment"):
        assert deployment["spec"]["replicas"] == 1
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    with pytest.raises(helm_python.HelmError):
        render({"replicas": 2})


def test_undelivered_events_outlive_the_release(render):
    kept = render().get("PersistentVolumeClaim", "auditflow-journal")["metadata"]["annotations"]
    assert kept == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize("values", VALUES)
def test_every_container_is_locked_down(render, values):
    for role in ROLES:
        pod = render(values).pod(role)
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["fsGroup"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]


def test_only_the_journal_and_tmp_can_be_written(render):
    for role in ROLES:
        mounts = render().pod(role)["containers"][0]["volumeMounts"]
        assert {mount["mountPath"] for mount in mounts if not mount.get("readOnly")} == {"/data", "/tmp"}


def test_variables_of_services_do_not_reach_the_pods(render):
    # a service called auditflow-sink would otherwise set AUDITFLOW_SINK_PORT to tcp://…
    assert all(render().pod(role)["enableServiceLinks"] is False for role in ROLES)


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_each_role_listens_where_its_service_and_the_probes_reach_it(render, address):
    manifests = render({"listenAddress": address})
    assert option(manifests.pod("ingest"), "host") == address
    assert option(manifests.pod("delivery"), "sink-host") == address


def test_the_probes_ask_the_port_of_the_role(render):
    for role, port in (("ingest", 8080), ("delivery", 8082)):
        (container,) = render().pod(role)["containers"]
        assert container["ports"] == [{"name": "http", "containerPort": port}]
        paths = {
            probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")
        }
        assert paths["startup"] == paths["liveness"] == {"path": "/live", "port": "http"}
        assert paths["readiness"] == {"path": "/ready", "port": "http"}
        assert option(render().pod(role), "port" if role == "ingest" else "sink-port") == str(port)


@pytest.mark.parametrize("seconds", [25, 300])
def test_a_pod_is_given_longer_than_auditflow_takes_to_stop(render, seconds, tmp_path):
    manifests = render({"shutdownTimeoutSeconds": seconds})
    for role in ROLES:
        file = tmp_path / f"{role}.yaml"
        file.write_text(manifests.config(role))
        assert load(file, {}).server.shutdown_timeout == seconds
        assert manifests.pod(role)["terminationGracePeriodSeconds"] >= seconds + 10


def test_the_default_configuration_is_valid(render, tmp_path):
    for role in ROLES:
        file = tmp_path / f"{role}.yaml"
        file.write_text(render().config(role))
        assert [each.name for each in load(file, {}).pipelines] == ["cloudwatch-prod"]


def test_nobody_gets_in_unnamed_unless_somebody_says_so_loudly(render, tmp_path):
    for role in ROLES:
        file = tmp_path / f"{role}.yaml"
        file.write_text(render().config(role))
        assert load(file, {}).auth.api_keys is not None
        gateway = {"api-keys": None, "gateway": {"secret": "${GATEWAY}"}}
        file.write_text(render({"config": {"auth": gateway}}).config(role))
        assert load(file, {"GATEWAY": "0" * 32}).auth.api_keys is None
        anyone = {"api-keys": None, "insecure-allow-anyone": True}
        file.write_text(render({"config": {"auth": anyone}}).config(role))
        assert load(file, {}).auth.insecure_allow_anyone


def test_with_certificates_the_probes_and_the_waiting_ask_in_tls(render):
    tls = {"certificate": "/tls/tls.crt", "key": "/tls/tls.key"}
    volume, mount = {"name": "tls", "secret": {"secretName": "t"}}, {"name": "tls", "mountPath": "/tls"}
    files = {"extraVolumes": [volume], "extraVolumeMounts": [mount]}
    manifests = render({"config": {"server": {"tls": tls}}, "ingest": files, "delivery": files})
    for role in ROLES:
        pod = manifests.pod(role)
        (container,) = pod["containers"]
        probes = [container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")]
        assert {probe["scheme"] for probe in probes} == {"HTTPS"}
        assert volume in pod["volumes"]
        assert mount in container["volumeMounts"]
    (waiting,) = manifests.pod("delivery")["initContainers"]
    assert "https://auditflow-ingest:8080/live" in waiting["command"][-1]


def test_templates_and_variables_in_the_configuration_reach_delivery_untouched(render):
    stream = "{{ sourceSystem }}-${ACCOUNT_ID}"
    config = yaml.safe_load(
        render({"config": {"pipelines": [pipeline(**{"log-stream": stream})]}}).config("delivery")
    )
    assert config["pipelines"][0]["sink"]["properties"]["log-stream"] == stream


def test_ingest_is_told_the_names_of_pipelines_and_no_secrets(render, tmp_path):
    secret = pipeline(
        **{"access-key-id": "${AWS_ACCESS_KEY_ID}", "secret-access-key": "${AWS_SECRET_ACCESS_KEY}"}
    )
    config = {
        "pipelines": [secret, pipeline() | {"name": "off", "enabled": False}],
        "journal": {"max-size": 12345678901, "retention": "7d"},
        "plugins": {"directory": "/plugins"},
    }
    manifests = render({"config": config})
    assert "AWS_" in manifests.config("delivery")
    assert "AWS_" not in manifests.config("ingest")
    file = tmp_path / "auditflow.yaml"
    file.write_text(manifests.config("ingest"))
    loaded = load(file, {})
    assert [(each.name, each.enabled) for each in loaded.pipelines] == [("p", True), ("off", False)]
    assert loaded.journal.max_size == 12345678901
    assert loaded.journal.retention == 7 * 86400


def test_a_change_of_the_configuration_rolls_the_pods_that_it_concerns(render):
    before = render({"config": {"pipelines": [pipeline()]}})
    stream = render({"config": {"pipelines": [pipeline(**{"log-stream": "other"})]}})
    journal = render({"config": {"pipelines": [pipeline()], "journal": {"retention": "7d"}}})
    assert stream.checksum("delivery") != before.checksum("delivery")
    assert stream.checksum("ingest") == before.checksum("ingest")
    assert journal.checksum("ingest") != before.checksum("ingest")


def test_secrets_come_as_variables_to_the_pod_that_asked_for_them(render):
    manifests = render({"delivery": {"envFrom": [{"secretRef": {"name": "aws"}}]}})
    assert manifests.pod("delivery")["containers"][0]["envFrom"] == [{"secretRef": {"name": "aws"}}]
    assert "envFrom" not in manifests.pod("ingest")["containers"][0]


@pytest.mark.parametrize(
    "values",
    [
        {"config": {"server": {"port": 9000}}},
        {"config": {"server": {"shutdown-timeout": "60s"}}},
        {"config": {"journal": {"path": "/elsewhere"}}},
        {"config": {"auth": {"api-keys": None}}},
        {"config": {"server": {"tls": {"client-ca": "/ca.pem"}}}},
        {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "AuditFlowCloudWatchRole"}}},
        {"serviceAccount": {"name": ""}},
        {"sinkService": {"type": "LoadBalancer"}},
        {"sinkService": {"clientLabels": {"auditflow.io/sink-client": None}}},
        {"persistance": {"size": "5Gi"}},
        {"shutdownTimeoutSeconds": "25s"},
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_refused(render, values):
    with pytest.raises(helm_python.HelmError):
        render(values)


def test_the_notes_say_that_there_is_one_pod_each(render_texts):
    notes = render_texts(ANNOTATED)["auditflow/templates/NOTES.txt"]
    assert "http://auditflow-ingest.labs64io:8080/audit/publish" in notes
    assert "More replicas" in notes
    assert "has no eks.amazonaws.com/role-arn" not in notes
    assert "has no eks.amazonaws.com/role-arn" in render_texts()["auditflow/templates/NOTES.txt"]


def test_a_release_of_any_name_has_names_of_its_own(render):
    manifests = render(name="audit-eu")
    deployments = [one["metadata"]["name"] for one in manifests.of("Deployment")]
    assert sorted(deployments) == ["audit-eu-auditflow-delivery", "audit-eu-auditflow-ingest"]


def test_the_chart_is_of_the_version_of_the_package():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]
