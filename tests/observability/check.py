"""Reads the YAML of the dev stack, and has the collector's pipelines name only what is defined,
as the collector itself would before it starts."""

import pathlib
import sys

import yaml

root = pathlib.Path(__file__).parents[2]
files = [root / "docker-compose.yml", *sorted((root / "deploy").rglob("*.yml"))]
read = {}
for file in files:
    try:
        read[file] = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        sys.exit(f"{file}: {error}")

collector = read[root / "deploy/otel-collector.yml"]
wrong, used = [], set()
for name, pipeline in collector["service"]["pipelines"].items():
    for kind in ("receivers", "processors", "exporters"):
        for component in pipeline.get(kind, []):
            used.add((kind, component))
            if component not in collector.get(kind, {}):
                wrong.append(f"pipeline {name}: {kind} lacks {component}")
for kind in ("receivers", "processors", "exporters"):
    wrong += [f"no pipeline uses {one} of {kind}" for one in collector[kind] if (kind, one) not in used]

# What is mounted exists; Docker would make an empty directory of what does not.
for name, service in read[root / "docker-compose.yml"]["services"].items():
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("./") and not (root / source).exists():
            wrong.append(f"{name} mounts {source}, which does not exist")

if wrong:
    sys.exit("\n".join(wrong))
print(f"{len(files)} files of YAML are well-formed, and the collector's pipelines are whole")
