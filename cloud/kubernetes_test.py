"""The manifests: what they say, how they fit together, and the cluster that each pod believes to be in."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from albert.cli.flags import parse
from albert.cli.pretraining import RUN_PRETRAINING
from albert.engine.cluster import cluster_from_environment

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

FILE = Path(__file__).parent / "kubernetes" / "job.yaml"
SHELLCHECK = Path(sys.executable).parent / "shellcheck"


@functools.cache
def objects() -> dict[str, Any]:
    """The manifests by kind."""
    found = list(yaml.safe_load_all(FILE.read_text()))
    assert len({item["kind"] for item in found}) == len(found)
    return {item["kind"]: item for item in found}


def job() -> dict[str, Any]:
    return objects()["Job"]["spec"]


def pod() -> dict[str, Any]:
    return job()["template"]["spec"]


def worker() -> dict[str, Any]:
    [container] = pod()["containers"]
    return container


def variables() -> dict[str, str]:
    """Of the container, those with a value."""
    return {item["name"]: item["value"] for item in worker()["env"] if "value" in item}


def script() -> str:
    assert worker()["command"] == ["/bin/bash", "-euc"]
    [text] = worker()["args"]
    return text


def test_kubernetes_own_schemas_accept_every_manifest():
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate, 108 MB, is not installed")
    for item in objects().values():
        validate.validate(item, "1.31", strict=True)


def test_manifests_are_of_the_kinds_and_versions_that_clusters_have():
    kinds = {kind: item["apiVersion"] for kind, item in objects().items()}
    assert kinds == {
        "Service": "v1",
        "NetworkPolicy": "networking.k8s.io/v1",
        "PersistentVolumeClaim": "v1",
        "Job": "batch/v1",
    }


def test_names_and_labels_fit_together():
    service, policy = objects()["Service"], objects()["NetworkPolicy"]["spec"]
    labels = job()["template"]["metadata"]["labels"]
    # A pod has a name in the network if its subdomain is the name of a headless service that selects it.
    assert (service["spec"]["clusterIP"], pod()["subdomain"]) == ("None", service["metadata"]["name"])
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == policy["podSelector"]["matchLabels"] == labels
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": labels}}]}]
    [port], [container_port] = service["spec"]["ports"], worker()["ports"]
    assert port["port"] == container_port["containerPort"] == int(variables()["WORKER_PORT"])
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in worker()["volumeMounts"]}
    claim = objects()["PersistentVolumeClaim"]
    assert mounts["/data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_workers_start_together_and_are_as_many_as_they_believe():
    assert job()["completionMode"] == "Indexed"
    assert job()["completions"] == job()["parallelism"] == int(variables()["NUM_WORKERS"])
    assert worker()["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert "--num_gpu_cores=8" in script()


def test_exit_codes_do_what_they_mean():
    rules = {
        code: rule["action"]
        for rule in job()["podFailurePolicy"]["rules"]
        for code in rule.get("onExitCodes", {}).get("values", ())
    }
    assert rules == {2: "FailJob", 130: "Ignore", 143: "Ignore"}  # 75 and all others count, up to backoffLimit
    names = {
        rule["onExitCodes"]["containerName"] for rule in job()["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    }
    assert names == {worker()["name"]}
    assert pod()["restartPolicy"] == "Never"
    assert job()["backoffLimit"] >= 2 * job()["completions"]  # a loss ends every pod
    assert job()["successPolicy"]["rules"] == [{"succeededIndexes": "0"}]


def test_containers_have_no_rights_that_they_do_not_need():
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert worker()["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_pods_script():
    known = "".join(f"{item['name']}=x\n" for item in worker()["env"])
    text = f"#!/bin/bash\n{known}JOB_COMPLETION_INDEX=0\nexport NCCL_DEBUG\n{script()}"
    done = subprocess.run([SHELLCHECK, "-"], input=text, capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.parametrize("index", [0, 1])
def test_every_pod_knows_the_cluster_and_its_place_there(tmp_path, index):
    recorder = f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([os.environ['TF_CONFIG'], sys.argv[1:]]))\n"
    (tmp_path / "python3").write_text(recorder)
    (tmp_path / "python3").chmod(0o755)
    environment = {
        **variables(),
        "JOB_NAME": objects()["Job"]["metadata"]["name"],
        "JOB_COMPLETION_INDEX": str(index),  # which an indexed Job sets
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [*worker()["command"], script()], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    config, (module_flag, module, *flags) = json.loads(done.stdout)
    cluster = cluster_from_environment({"TF_CONFIG": config})
    assert (cluster.addresses, cluster.index) == (("albert-0.albert:12000", "albert-1.albert:12000"), index)
    assert (module_flag, module) == ("-m", f"albert.{RUN_PRETRAINING.module}")
    parse(RUN_PRETRAINING, ["", *flags]).check()
