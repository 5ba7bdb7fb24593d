"""The files in `configs/cluster`: they fit the engines' own schemas, and their commands run."""

import json

import kubernetes_validate
import pytest
import yaml
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from program import REPOSITORY, pointshard, vnc_config

CLUSTER = REPOSITORY / "configs/cluster"
TASKS = 100
KUBERNETES = "1.31"


def kubernetes():
    return yaml.safe_load((CLUSTER / "kubernetes.yaml").read_text())


def aws():
    return json.loads((CLUSTER / "aws-batch.json").read_text())


def google():
    (group,) = json.loads((CLUSTER / "google-batch.json").read_text())["taskGroups"]
    return group


def test_the_kubernetes_job_fits_the_schema_of_its_api():
    job = kubernetes()
    kubernetes_validate.validate(job, KUBERNETES, strict=True)
    # What `backoffLimitPerIndex` and exit codes need.
    spec = job["spec"]
    assert (spec["completionMode"], spec["template"]["spec"]["restartPolicy"]) == ("Indexed", "Never")
    job["spec"]["backoffLimitPerIndices"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_the_aws_job_fits_the_schema_of_its_api():
    model = ServiceModel(Loader().load_service_model("batch", "service-2"))
    shape = model.operation_model("SubmitJob").input_shape
    job = aws()
    known, found = set(shape.members), set(job)
    report = ParamValidator().validate(job, shape)
    assert not report.has_errors() and found <= known, report.generate_report()


def retried(code):
    """Whether each engine starts a task again that ends with this exit code."""
    rules = [r["onExitCodes"] for r in kubernetes()["spec"]["podFailurePolicy"]["rules"] if r["action"] == "FailIndex"]
    yield not any(code in rule["values"] for rule in rules)
    rules = [r for r in aws()["retryStrategy"]["evaluateOnExit"] if "onExitCode" in r]
    yield next(r["action"] for r in rules if r["onExitCode"] in ("*", str(code))) == "RETRY"
    policies = google()["taskSpec"]["lifecyclePolicies"]
    yield next(p["action"] for p in policies if code in p["actionCondition"]["exitCodes"]) == "RETRY_TASK"


@pytest.mark.parametrize(("code", "again"), [(1, False), (2, False), (75, True), (130, True), (143, True)])
def test_an_engine_tries_again_if_another_try_may_succeed(code, again):
    assert list(retried(code)) == [again] * 3


@pytest.mark.parametrize("engine", ["kubernetes", "aws", "google"])
def test_the_command_of_each_file_makes_a_task(tmp_path, engine):
    config, out = vnc_config(tmp_path), str(tmp_path / "out")
    pointshard("plan", config, "--out", out, "--tasks", TASKS)
    command, size, env = {
        "kubernetes": lambda: (
            kubernetes()["spec"]["template"]["spec"]["containers"][0]["args"],
            kubernetes()["spec"]["completions"],
            {"JOB_COMPLETION_INDEX": "0"},
        ),
        "aws": lambda: (
            aws()["containerOverrides"]["command"],
            aws()["arrayProperties"]["size"],
            {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": str(TASKS)},
        ),
        "google": lambda: (
            google()["taskSpec"]["runnables"][0]["container"]["commands"],
            int(google()["taskCount"]),
            {"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": str(TASKS)},
        ),
    }[engine]()
    assert size == TASKS
    arguments = [out if "bucket" in argument else argument for argument in command]
    assert f"task     0 of {TASKS}" in pointshard(*arguments, env=env).stdout
