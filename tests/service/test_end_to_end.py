"""A simulated node, the broker in the process, the database and a live stream together."""

from e2e.nodes import example
from service.running import Sse, serving

from fieldhand.sim import Simulator


def test_a_reading_reaches_history_and_a_live_stream(tmp_path):
    with serving(tmp_path, "--broker-port", "0") as serve:
        assert serve.get("/healthz") == {"status": "ok", "reason": None}
        assert serve.get("/readyz")["status"] == "ok"
        stream = Sse(serve.url, "/live")
        port = serve.told["broker"]["port"]
        with Simulator(broker=("127.0.0.1", port)) as simulator:
            node = simulator.add(example("greenhouse", port))
            node.start()
            seen = stream.wait(lambda name, data: name == "reading")
            assert seen["node_id"] == "plantnanny:greenhouse"
            history = serve.get("/nodes/greenhouse/readings")["readings"]
        origin = seen["provenance"]
        same = [r for r in history if (r["boot"], r["seq"]) == (origin["boot"], origin["seq"])]
        assert len(same) == 1
        assert same[0]["quantities"] == seen["quantities"]
        assert same[0]["quality"] == origin["quality"]
        found = serve.get("/nodes")["nodes"]
        assert [item["id"] for item in found] == ["plantnanny:greenhouse"]
        assert serve.stop() == 0
        assert stream.wait_end()
