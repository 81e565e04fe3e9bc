"""Reads the event file of a run with TensorBoard's own reader and compares every scalar with metrics.jsonl.

    pip install tensorboard
    flat-train train ... --log tensorboard,csv --log-steps --flatness trace,lambda_max --out RUN
    python tests/reference/tensorboard_events.py RUN

`--fixture` prints the bytes that TensorBoard writes for two events; they are literals of `store/log/events.rs`. Of a run of
40 steps of sam with the flags above, TensorBoard 2.21.0 printed

    462 scalars of 34 tags in 53 lines are those of metrics.jsonl in single precision
    47 settings are those of config.toml
    the session took 0.331 s, status 1
    SCALARS tab: 2 runs; HPARAMS tab: 47 settings, 34 metrics
    462 cells of 53 rows of metrics.csv are the journal's to the bit

and of one that was paused, whose event file then had the events of another run behind its own, and that was resumed twice,
the second time to be longer: 665 scalars of 24 tags in 77 lines, each step once.
"""

import csv
import io
import json
import math
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import metadata
from tensorboard.summary.writer.record_writer import RecordWriter


def record(event):
    file = io.BytesIO()
    RecordWriter(file).write(event.SerializeToString())
    return file.getvalue().hex()


def fixture():
    values = [("train/epoch", 3.0), ("train/loss", 0.5), ("train/wall_s", 2.5)]
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=t, simple_value=x) for t, x in values])
    print("EVENT", record(event_pb2.Event(wall_time=1_700_000_002.5, step=300, summary=summary)))
    print("FIRST", record(event_pb2.Event(wall_time=1_700_000_000.0, file_version="brain.Event:2")))


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def scalars(line):
    """The numbers of a journal's line by tag."""
    group = {"step": "step", "flatness": "flatness"}.get(line["kind"], line.get("split"))

    def of(name, value):
        if isinstance(value, bool) or value is None or isinstance(value, str):
            return
        if isinstance(value, (int, float)):
            yield f"{group}/{name}", value
        elif isinstance(value, dict) and line["kind"] == "flatness":
            inner = value["trace"] if isinstance(value.get("trace"), dict) else value
            yield from of(name, inner["value"])
            ends = inner.get("ci95")
            if ends is None and inner.get("residual") is not None:
                ends = [inner["value"] - inner["residual"], inner["value"] + inner["residual"]]
            yield from of(name, ends)
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from of(f"{name}_{key}", inner)
        elif len(value) == 2:
            yield from of(f"{name}_low", value[0])
            yield from of(f"{name}_high", value[1])

    for key, value in line.items():
        if key != "step":
            yield from of(key, value)


def compare(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    expected, clock = {}, 0.0
    for line in lines:
        clock = clock + line["wall_s"] if line["kind"] == "step" else line["wall_s"]
        for tag, x in scalars(line):
            expected.setdefault(tag, []).append((line["step"], clock, x))
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    begun = events.FirstEventTimestamp()
    assert sorted(events.Tags()["scalars"]) == sorted(expected), set(expected) ^ set(events.Tags()["scalars"])
    count = 0
    for tag, points in expected.items():
        found = events.Scalars(tag)
        assert [e.step for e in found] == [step for step, _, _ in points], tag
        if tag.startswith("step/"):
            assert len({e.step for e in found}) == len(found), f"{tag}: a step twice"
        for e, (_, seconds, x) in zip(found, points):
            assert e.value == single(x), (tag, e, x)
            # seconds since 1970 in double precision have 2.4e-7 between them
            assert math.isclose(e.wall_time, begun + seconds, rel_tol=0, abs_tol=1e-6), (tag, e, seconds)
            count += 1
    print(f"{count} scalars of {len(expected)} tags in {len(lines)} lines are those of metrics.jsonl in single precision")
    return events


def settings(events, run):
    import tomllib

    config = tomllib.loads((run / "config.toml").read_text())
    # `Reload` of the plugin's metadata: the session's data are in the summaries' metadata, by tag
    content = events.PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    found = {}
    for key, value in start.hparams.items():
        kind = value.WhichOneof("kind")
        found[key] = getattr(value, kind)
    assert sorted(found) == sorted(config), set(found) ^ set(config)
    for key, value in config.items():
        if isinstance(value, list):
            assert isinstance(found[key], str), (key, value)
        else:
            assert found[key] == value, (key, found[key], value)
    print(f"{len(found)} settings are those of config.toml")
    if (run / "summary.json").exists():
        end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
        assert end.status == (1 if json.loads((run / "summary.json").read_text())["state"] == "finished" else 2)
        print(f"the session took {end.end_time_secs - start.start_time_secs:.3f} s, status {end.status}")


def dashboard(run):
    """What the SCALARS and HPARAMS tabs ask of the backend."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins.hparams import backend_context

    multiplexer = plugin_event_multiplexer.EventMultiplexer(size_guidance={"scalars": 0, "tensors": 100})
    multiplexer.AddRunsFromDirectory(str(run.parent))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(run.parent))
    ctx = context.RequestContext()
    runs = provider.list_scalars(ctx, experiment_id="", plugin_name="scalars")
    hparams = backend_context.Context(type("C", (), {"data_provider": provider, "logdir": str(run.parent)})())
    experiment = hparams.experiment_from_metadata(
        ctx, "", include_metrics=True, hparams_run_to_tag_to_content=hparams.hparams_metadata(ctx, ""),
        data_provider_hparams=[],
    )
    found = [info.name for info in experiment.hparam_infos]
    metrics = [f"{m.name.group or '.'}:{m.name.tag}" for m in experiment.metric_infos]
    print(f"SCALARS tab: {len(runs)} runs; HPARAMS tab: {len(found)} settings, {len(metrics)} metrics")


def table(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert len(rows) == len(lines)
    count = 0
    for row, line in zip(rows, lines):
        for tag, x in scalars(line):
            assert float(row[tag.split("/", 1)[1]]) == x, (tag, row, x)
            count += 1
        assert (row["kind"], int(row["step"])) == (line["kind"], line["step"])
    [summary] = csv.DictReader((run / "summary.csv").open())
    whole = json.loads((run / "summary.json").read_text())
    assert float(summary["test_loss"]) == whole["test_loss"] and summary["state"] == whole["state"]
    print(f"{count} cells of {len(rows)} rows of metrics.csv are the journal's to the bit")


if __name__ == "__main__":
    if sys.argv[1:] == ["--fixture"]:
        fixture()
    else:
        for folder in map(pathlib.Path, sys.argv[1:]):
            read = compare(folder)
            settings(read, folder)
            dashboard(folder)
            if (folder / "metrics.csv").exists():
                table(folder)
