"""docs/how-to/deploy.md: its files are valid, its values make the chart it promises, its commands hang together."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from auditflow.config import load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
VALUES = [
    yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
]
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-key"}

# stand-ins for the tools that need a cloud: they write down how they were called
STUBS = """
set -eu
aws() {
  echo "aws $*" >> calls
  case "$*" in
    "ecr create-repository"*) echo registry.example/auditflow ;;
    "sts get-caller-identity"*) echo 111111111111 ;;
    "eks describe-cluster"*) echo https://oidc.example/id/ABC ;;
  esac
}
docker() { echo "docker $*" >> calls; }
eksctl() { echo "eksctl $*" >> calls; }
helm() { echo "helm $*" >> calls; }
kubectl() { echo "kubectl $*" >> calls; }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Give the folder in which the commands of the EKS section, up to installing, were run."""
    folder = tmp_path_factory.mktemp("page")
    section = PAGE[PAGE.index("### 1.") : PAGE.index("### 6.")]
    commands = "\n".join(re.findall(r"^```bash\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
    subprocess.run(["bash", "-c", STUBS + commands], cwd=folder, check=True)
    return folder


def test_the_trust_policy_admits_the_service_account_of_the_chart_and_no_other(folder, render):
    account = render(VALUES[0]).pod("delivery")["serviceAccountName"]
    (statement,) = json.loads((folder / "trust.json").read_text())["Statement"]
    assert statement["Principal"] == {
        "Federated": "arn:aws:iam::111111111111:oidc-provider/oidc.example/id/ABC"
    }
    assert statement["Condition"] == {
        "StringEquals": {
            "oidc.example/id/ABC:sub": f"system:serviceaccount:labs64io:{account}",
            "oidc.example/id/ABC:aud": "sts.amazonaws.com",
        }
    }


def test_the_permissions_are_those_that_the_pipeline_needs(folder):
    (statement,) = json.loads((folder / "permissions.json").read_text())["Statement"]
    (pipeline,) = VALUES[0]["config"]["pipelines"]
    properties = pipeline["sink"]["properties"]
    assert properties["create-log-group"] == "false"
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    group = f"arn:aws:logs:{properties['region']}:111111111111:log-group:{properties['log-group']}"
    assert statement["Resource"] == f"{group}:*"


def test_the_chart_is_installed_with_the_image_that_was_pushed(folder):
    calls = (folder / "calls").read_text()
    (install,) = re.findall(r"^helm .*$", calls, re.MULTILINE)
    assert "docker push registry.example/auditflow:0.1.0" in calls
    assert "--set image.repository=registry.example/auditflow --set image.tag=0.1.0" in install
    assert (ROOT / re.search(r"--install \S+ (\S+)", install)[1] / "Chart.yaml").is_file()
    assert "--namespace labs64io" in install


def test_the_role_that_is_created_is_the_one_in_the_annotation(folder):
    name = re.search(r"create-role --role-name (\S+)", (folder / "calls").read_text())[1]
    assert VALUES[0]["serviceAccount"]["annotations"]["eks.amazonaws.com/role-arn"].endswith(f":role/{name}")


@pytest.mark.parametrize("values", VALUES, ids=["eks", "another-account", "secrets"])
def test_the_values_of_the_page_make_configurations_that_both_roles_accept(render, values, tmp_path):
    manifests = render(values)
    for role, environment in (("ingest", {}), ("delivery", KEYS)):
        file = tmp_path / f"{role}.yaml"
        file.write_text(manifests.config(role))
        assert load(file, environment).pipelines


def test_every_object_that_a_command_names_is_in_the_chart(render):
    manifests = render(VALUES[0])
    names = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in manifests}
    assert set(re.findall(r"\bdeployment/[\w-]+", PAGE)) <= names
    account = re.search(r"get serviceaccount (\S+)", PAGE)[1]
    claim = re.search(r"delete pvc ([\w-]+)", PAGE)[1]
    assert {f"serviceaccount/{account}", f"persistentvolumeclaim/{claim}"} <= names
    assert "http://auditflow-ingest.labs64io:8080" in PAGE
