"""Holds the folders of a Kustomize set to themselves: all files are named and there,
patches fit a resource by kind and name, and references between resources meet. Stands
in for kustomize build where that is not at hand.

    python kustomize.py FOLDER...
"""

import pathlib
import shutil
import subprocess
import sys

import yaml


def resources(folder):
    """The resources of a folder with those it builds on, by kind and name."""
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found = {}
    named = {"kustomization.yaml"}
    for entry in listed["resources"]:
        path = folder / entry
        if path.is_dir():
            found.update(resources(path))
            continue
        named.add(entry)
        resource = yaml.safe_load(path.read_text())
        found[resource["kind"], resource["metadata"]["name"]] = resource
    for patch in listed.get("patches", ()):
        named.add(patch["path"])
        text = yaml.safe_load((folder / patch["path"]).read_text())
        patched = found[text["kind"], text["metadata"]["name"]]
        names = {c["name"] for c in patched["spec"]["template"]["spec"]["containers"]}
        assert {c["name"] for c in text["spec"]["template"]["spec"]["containers"]} <= names, patch
    left = {p.name for p in folder.glob("*.yaml")} - named
    assert not left, f"{folder}: {left} are named nowhere"
    return found


def check(folder):
    found = resources(folder)
    pod = found["Deployment", "densereward"]["spec"]["template"]
    scaled = found["HorizontalPodAutoscaler", "densereward"]["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) in found
    ports = {p["name"] for c in pod["spec"]["containers"] for p in c["ports"]}
    assert found["Service", "densereward"]["spec"]["ports"][0]["targetPort"] in ports
    assert found["PodMonitor", "densereward"]["spec"]["podMetricsEndpoints"][0]["port"] in ports
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v}
    assert all(("PersistentVolumeClaim", claim) in found for claim in claims)
    mounts = {m["name"] for c in pod["spec"]["containers"] for m in c["volumeMounts"]}
    assert mounts == {v["name"] for v in pod["spec"]["volumes"]}
    labels = pod["metadata"]["labels"].items()
    for kind in ("Deployment", "Service", "PodMonitor", "PodDisruptionBudget"):
        selector = found[kind, "densereward"]["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= labels, kind
    return len(found)


for name in sys.argv[1:]:
    if shutil.which("kustomize"):
        subprocess.run(["kustomize", "build", name], check=True, stdout=subprocess.DEVNULL)
    print(f"{name}: {check(pathlib.Path(name))} resources")
