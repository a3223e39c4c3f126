"""Who this worker is, from environments as launchers set them and as people get them wrong."""

import json
import os

import pytest

from albert.engine import cluster as clusters
from albert.engine.cluster import Cluster, cluster_from_environment, expand_nodelist
from albert.errors import UserError


def tf_config(kind: object = "worker", index: object = 0, **jobs: object) -> dict[str, str]:
    jobs = jobs or {"worker": ["a:1", "b:2"]}
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})}


def test_a_cluster_names_its_workers():
    cluster = Cluster(("a:1", "b:2"), 1)
    assert (cluster.count, cluster.is_chief, cluster.name(1)) == (2, False, "worker 1 (b:2)")
    assert cluster_from_environment({"TF_CONFIG": cluster.tf_config()}) == cluster


def test_a_process_alone_among_several_workers_is_warned_of():
    assert "names 2 workers: give each of them `strategy_type`=multi_worker" in clusters.alone_among(tf_config())
    for environment in ({}, {"TF_CONFIG": ""}, {"SLURM_JOB_ID": "1"}, tf_config(worker=["a:1"])):
        assert clusters.alone_among(environment) == ""


# TF_CONFIG ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "cluster"),
    [
        (tf_config(index=1), Cluster(("a:1", "b:2"), 1)),
        (tf_config(index="1"), Cluster(("a:1", "b:2"), 1)),
        (tf_config(worker=["[::1]:65535"]), Cluster(("[::1]:65535",), 0)),
        # The chief counts as worker 0.
        (tf_config("chief", chief=["c:3"], worker=["a:1", "b:2"]), Cluster(("c:3", "a:1", "b:2"), 0)),
        (tf_config("worker", 1, chief=["c:3"], worker=["a:1", "b:2"]), Cluster(("c:3", "a:1", "b:2"), 2)),
        (tf_config("chief", chief=["c:3"]), Cluster(("c:3",), 0)),
        ({**tf_config(), "ALBERT_LAUNCH": "7"}, Cluster(("a:1", "b:2"), 0, "7")),
        # Before every other launcher.
        ({**tf_config(), "SLURM_STEP_NODELIST": "x", "SM_HOSTS": "x"}, Cluster(("a:1", "b:2"), 0)),
    ],
)
def test_tf_config_says_who_this_is(environment, cluster):
    assert cluster_from_environment(environment) == cluster


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"cluster": {}, "cluster": {}}', "appears twice"),
        ("[]", "has no cluster"),
        ("null", "has no cluster"),
        ('{"cluster": {"worker": ["a:1"]}}', "has no task"),
        ('{"cluster": {"worker": ["a:1"]}, "task": 0}', "has no task"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {}}', "index None"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"index": 0}}', "task type None"),
        (tf_config(index=2), "says that this is worker 2, but its cluster has 2 of that type"),
        (tf_config("chief"), "says that this is chief 0, but its cluster has 0 of that type"),
        (tf_config(index=-1), "index -1"),
        (tf_config(index=1.0), "index 1.0"),
        (tf_config(index=True), "index True"),
        (tf_config(index="one"), "index 'one'"),
        (tf_config("evaluator"), "task type 'evaluator'"),
        (tf_config(["worker"]), "task type"),
        (tf_config(worker=["a:1"], ps=["b:1"]), "the job 'ps'"),
        (tf_config("chief", chief=["a:1", "b:1"]), "has 2 chiefs"),
        (tf_config(worker=[]), "but its cluster has 0"),
        (tf_config(worker="a:1"), "a job worker that is no list"),
        (tf_config(worker=[1]), "a job worker that is no list"),
        (tf_config(worker={"0": "a:1"}), "a job worker that is no list"),
        (tf_config(worker=["a"]), "'a' of worker 0, which is not host:port"),
        (tf_config(worker=["a:1", "b:"]), "'b:' of worker 1"),
        (tf_config(worker=[":1"]), "':1'"),
        (tf_config(worker=["a:0"]), "'a:0'"),
        (tf_config(worker=["a:65536"]), "'a:65536'"),
        (tf_config(worker=["a:x"]), "'a:x'"),
        (tf_config(worker=["::1:80"]), "'::1:80'"),
        (tf_config(worker=["http://a:1"]), "'http://a:1'"),
        (tf_config(worker=["a b:1"]), "'a b:1'"),
        (tf_config(worker=["a:1\n"]), "of worker 0"),
        (tf_config(worker=["a:1", "b:2", "a:1"]), "the address a:1 twice, of worker 0 and of worker 2"),
        (tf_config(worker=[f"a:{i + 1}" for i in range(2000)]), "has 2000 workers"),
    ],
)
def test_a_malformed_tf_config_is_refused_in_one_line(environment, words):
    environment = {"TF_CONFIG": environment} if isinstance(environment, str) else environment
    assert words in refusal_of(environment)


def refusal_of(environment: dict[str, str]) -> str:
    with pytest.raises(UserError) as refusal:
        cluster_from_environment(environment)
    text = str(refusal.value)
    assert "\n" not in text
    assert len(text) < 800
    return text


# Slurm ----------------------------------------------------------------------------------------------------------------


def slurm(nodes: str, tasks: str, index: int = 0, **others: str) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": "1234567",
        "SLURM_STEP_ID": "2",
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_PROCID": str(index),
        **others,
    }


@pytest.fixture(autouse=True)
def _no_scontrol(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")


def test_slurms_tasks_are_numbered_along_the_nodes_in_their_order():
    # By text n10 comes before n9; the index does not.
    cluster = cluster_from_environment(slurm("n[9-10],b", "2(x2),1", 2, SLURMD_NODENAME="n10", SLURM_LOCALID="0"))
    # The first port is 12000 + 8 * ((job + 97 * step) % 1000).
    assert cluster.addresses == ("n9:18088", "n9:18089", "n10:18088", "n10:18089", "b:18088")
    assert (cluster.index, cluster.launch) == (2, "1234567.2.0")


@pytest.mark.parametrize("tasks", [1, 2, 8, 20, 300])
def test_jobs_with_neighbouring_numbers_and_steps_of_a_job_have_other_ports_on_a_node(tasks):
    def ports(**given: int) -> set[str]:
        job = {f"SLURM_{name}": str(number) for name, number in given.items()}
        return set(cluster_from_environment(slurm("a", str(tasks), **job)).addresses)

    first = ports(JOB_ID=500, STEP_ID=0)
    assert len(first) == tasks
    assert not first & ports(JOB_ID=501, STEP_ID=0)
    assert not first & ports(JOB_ID=500, STEP_ID=1)


def test_slurms_ports_stay_below_those_of_outgoing_connections():
    jobs = [slurm("a", "1023", SLURM_JOB_ID=str(job)) for job in range(0, 10**6, 997)]
    ports = [int(cluster_from_environment(job).addresses[-1].split(":")[1]) for job in jobs]
    assert max(ports) < 32_768


def test_a_job_that_slurm_starts_again_is_another_launch():
    launches = [
        cluster_from_environment(slurm("a", "1", **given)).launch
        for given in ({}, {"SLURM_RESTART_COUNT": "1"}, {"SLURM_STEP_ID": "3"})
    ]
    assert len(set(launches)) == 3


@pytest.mark.parametrize(
    ("nodelist", "hosts"),
    [
        ("a", ["a"]),
        ("b,a", ["b", "a"]),
        ("n[1-3,7]", ["n1", "n2", "n3", "n7"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("n[099-101]", ["n099", "n100", "n101"]),
        ("r[1-2]n1", ["r1n1", "r2n1"]),
        ("r[1-2]n[3,5]-ib.x", ["r1n3-ib.x", "r1n5-ib.x", "r2n3-ib.x", "r2n5-ib.x"]),
        ("gpu-a[1-2],cpu[0]", ["gpu-a1", "gpu-a2", "cpu0"]),
    ],
)
def test_lists_of_nodes_are_expanded_as_slurm_does(nodelist, hosts):
    assert expand_nodelist(nodelist) == hosts


@pytest.mark.parametrize(
    "nodelist", ["", ",", "n[", "n[1-2", "n]1", "n[]", "n[a-b]", "n[3-1]", "n[1,]", "n[1[2]]", "a b", "a;b", "n[-1]"]
)
def test_what_is_no_list_of_nodes_is_refused(nodelist):
    assert "is not a list of nodes" in refusal_of(slurm(nodelist, "1"))


def test_an_endless_list_of_nodes_is_refused_at_once():
    refusal_of(slurm("n[0-999999999][0-999999999]", "1"))
    refusal_of(slurm("n[0-999999999]", "1(x99999)"))


def test_slurms_own_command_expands_where_it_is_there(tmp_path, monkeypatch):
    script = tmp_path / "scontrol"
    script.write_text('#!/bin/sh\n[ "$1 $2 $3" = "show hostnames odd{1..2}" ] || exit 1\necho odd1\necho odd2\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    assert cluster_from_environment(slurm("odd{1..2}", "1(x2)")).addresses == ("odd1:18088", "odd2:18088")
    # It may be there and not work, as in a container.
    assert cluster_from_environment(slurm("n[1-2]", "1(x2)")).addresses == ("n1:18088", "n2:18088")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (slurm("a,b", "1"), "is for 1 nodes, and SLURM_STEP_NODELIST=a,b has 2"),
        (slurm("a", ""), "SLURM_STEP_TASKS_PER_NODE= is not of the form"),
        (slurm("a", "2x3"), "is not of the form"),
        (slurm("a", "1", 1), "SLURM_PROCID=1, but this step has 1 task, numbered from 0;"),
        (slurm("a", "99999"), "99,999 tasks"),
        (slurm("a", "1", SLURM_PROCID="x"), "SLURM_PROCID=x is not a whole number"),
        (slurm("a", "1", SLURM_JOB_ID=""), "SLURM_JOB_ID= is not a whole number"),
        # Dealt in turn (cyclic): task 1 is on the second node.
        (slurm("a,b", "2(x2)", 1, SLURMD_NODENAME="b"), "number 1 of node b, where number 1 of node a was expected"),
        (slurm("a,b", "2(x2)", 1, SLURM_LOCALID="0"), "use the block distribution (srun -m block)"),
        ({"SLURM_JOB_ID": "1", "SLURM_PROCID": "0"}, "start the workers with srun"),
    ],
)
def test_what_slurm_cannot_mean_is_refused_in_one_line(environment, words):
    assert words in refusal_of(environment)


# SageMaker ------------------------------------------------------------------------------------------------------------


def test_sagemakers_hosts_are_ordered_by_number():
    hosts = [f"algo-{number}" for number in (10, 2, 1)]
    environment = {"SM_HOSTS": json.dumps(hosts), "SM_CURRENT_HOST": "algo-2", "TRAINING_JOB_NAME": "job"}
    expected = Cluster(("algo-1:12000", "algo-2:12000", "algo-10:12000"), 1, "job")
    assert cluster_from_environment(environment) == expected


@pytest.mark.parametrize(
    ("hosts", "own", "words"),
    [
        ("", "a", "is not a JSON list of hosts"),
        ("[]", "a", "is not a JSON list of hosts"),
        ('"a"', "a", "is not a JSON list of hosts"),
        ("[1]", "a", "is not a JSON list of hosts"),
        ('["a"]', "", "SM_CURRENT_HOST= is none of"),
        ('["a"]', "b", "SM_CURRENT_HOST=b is none of"),
        ('["a", "a"]', "a", "twice"),
        ('["a b"]', "a b", "is not host:port"),
    ],
)
def test_what_sagemaker_cannot_mean_is_refused_in_one_line(hosts, own, words):
    assert words in refusal_of({"SM_HOSTS": hosts, "SM_CURRENT_HOST": own})


def test_without_any_launcher_one_line_says_what_to_do():
    text = refusal_of({})
    for words in ("TF_CONFIG", "srun", "python3 -m albert.launch_workers"):
        assert words in text
    # What it shows is right.
    example = text[text.index("{") : text.rindex("}") + 1]
    assert cluster_from_environment({"TF_CONFIG": example}).addresses == (
        f"host0:{clusters.BASE_PORT}",
        f"host1:{clusters.BASE_PORT}",
    )
