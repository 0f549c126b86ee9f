"""The scenarios: generators that yield None (one turn of the event loop) or a condition."""

from . import probes
from .stage import pause, settled


def messages(stage):
    """Everything that stands in the way of a job: each gets a sentence and changes nothing."""
    found = stage.report.setdefault("cases", {})

    def attempt(name, document):
        yield None
        before = probes.describe(document) if document else None
        stage.trigger()
        yield lambda: not stage.busy()
        if document:
            yield lambda: stage.floating() == stage.message()
        stage.picture(f"{name}.png")
        after = probes.describe(document) if document else None
        found[name] = {
            "message": stage.message(),
            "before": before,
            "after": after,
            "modified": document.modified() if document else False,
        }

    yield from attempt("no_document", None)

    document = stage.new_document()
    yield None
    document.setModified(False)
    yield from attempt("no_selection", document)

    stage.select(document, 400, 20, 50, 50)
    yield from attempt("selection_off_canvas", document)

    stage.select(document, 20, 20, 50, 50)
    group = document.createGroupLayer("Group")
    document.rootNode().addChildNode(group, None)
    yield None
    document.setActiveNode(group)
    document.waitForDone()
    document.setModified(False)
    yield lambda: document.activeNode().type() == "grouplayer"
    yield from attempt("group_layer", document)

    layer = next(n for n in document.topLevelNodes() if n.type() == "paintlayer")
    document.setActiveNode(layer)
    layer.setLocked(True)
    document.setModified(False)
    yield lambda: document.activeNode().type() == "paintlayer"
    yield from attempt("locked_layer", document)
    layer.setLocked(False)

    vector = document.createVectorLayer("Vector")
    document.rootNode().addChildNode(vector, None)
    yield None
    document.setActiveNode(vector)
    document.waitForDone()
    document.setModified(False)
    yield lambda: document.activeNode().type() == "vectorlayer"
    yield from attempt("vector_layer", document)

    for name, model, depth in (("sixteen_bit", "RGBA", "U16"), ("gray", "GRAYA", "U8")):
        other = stage.new_document(model=model, depth=depth, name=name)
        yield None
        stage.select(other, 20, 20, 50, 50)
        other.setModified(False)
        yield from attempt(name, other)


def nothing(stage):
    """Start and end: warms a fresh profile."""
    yield None
    stage.report["daemon_runs"] = stage.connection_file().exists()
    stage.picture("start.png")


def refine(stage):
    """The whole way, by menu: a new layer, undo, redo; then soft and ragged over the edge."""
    document = stage.open_picture(stage.arguments["picture"])
    yield settled(document)
    stage.set_seed(7)
    stage.select(document, 220, 160, 96, 96)
    yield settled(document)
    document.setModified(False)
    report = stage.report
    report["before"] = probes.describe(document)
    stage.dump("before", document)
    stage.dump_selection("selection", document)
    stage.picture("before.png")

    yield from stage.click_through_menu()
    yield stage.busy
    yield lambda: not stage.busy()
    report["first_message"] = stage.message()
    report["first_name"] = stage.result_layers(document)[0].name()
    yield from pause(0.3)
    yield settled(document)
    report["after"] = probes.describe(document)
    stage.dump("after", document)
    stage.dump("layer", document, stage.result_layers(document)[0])
    stage.picture("after.png")
    report["modified"] = document.modified()

    stage.application.action("edit_undo").trigger()
    yield lambda: not stage.result_layers(document)
    yield settled(document)
    report["undone"] = probes.describe(document)
    stage.application.action("edit_redo").trigger()
    yield lambda: stage.result_layers(document)
    yield settled(document)
    report["redone"] = probes.describe(document)
    stage.application.action("edit_undo").trigger()
    yield lambda: not stage.result_layers(document)
    document.setActiveNode(document.topLevelNodes()[0])
    yield settled(document)

    stage.ragged(document, document.width() - 70, -30, 150, 120)
    yield settled(document)
    stage.dump_selection("ragged_selection", document)
    stage.trigger()
    yield lambda: not stage.busy()
    report["ragged_message"] = stage.message()
    yield from pause(0.3)
    stage.dump("ragged_after", document)
    stage.dump("ragged_layer", document, stage.result_layers(document)[0])
    stage.picture("ragged.png")

    report["runs"] = []
    for _ in range(3):
        beat, times = probes.Heartbeat(), probes.HandlerTimes()
        stage.trigger()
        yield lambda: not stage.busy()
        yield None
        report["runs"].append({"handlers_ms": times.stop(), "gap_ms": beat.stop()})


def large(stage):
    """A selection larger than the model's grid, each step shown: first whole, then in pieces."""
    document = stage.open_picture(stage.arguments["picture"])
    yield settled(document)
    stage.set_seed(3, steps=2, preview=True)
    stage.select(document, 100, 60, 450, 300)
    yield settled(document)
    seen = {}

    def look():
        shown = stage.preview()
        if shown is not None and stage.busy() and shown.cacheKey() not in seen:
            seen[shown.cacheKey()] = [shown.width(), shown.height()]
            shown.save(str(stage.folder / "shown.png"))
            stage.picture("working.png")
        return not stage.busy()

    stage.trigger()
    yield look
    yield lambda: stage.preview().cacheKey() not in seen
    stage.preview().save(str(stage.folder / "result.png"))
    stage.report["sizes"] = list(seen.values())
    stage.report["message"] = stage.message()


def unchanged(stage):
    """Strength 0 on a translucent layer: nothing is to be made."""
    document = stage.open_picture(stage.arguments["picture"])
    stage.fade(document)
    yield settled(document)
    stage.set_seed(3, strength=0.0)
    stage.select(document, 220, 160, 96, 96)
    yield settled(document)
    document.setModified(False)
    stage.report["before"] = probes.describe(document)
    stage.trigger()
    yield stage.busy
    yield lambda: not stage.busy()
    yield from pause(0.3)
    stage.report["after"] = probes.describe(document)
    stage.report["message"] = stage.message()
    stage.report["modified"] = document.modified()
    stage.picture("unchanged.png")


def foreseen(stage):
    """What the docker says when the strength is moved: without a daemon, with one, with a job."""
    document = stage.open_picture(stage.arguments["picture"])
    yield settled(document)
    stage.set_seed(7)
    stage.select(document, 220, 160, 96, 64)
    yield settled(document)
    report = stage.report
    hint = stage.message()
    stage.move_strength(50)
    yield from pause(1.0)
    report["without_daemon"] = [hint, stage.message(), stage.connection_file().exists()]
    stage.move_strength(100)
    stage.trigger()
    yield lambda: not stage.busy()
    report["all"] = stage.message()
    for percent in (16, 0, 60):
        before = stage.message()
        stage.move_strength(percent)
        yield lambda before=before: stage.message() != before
        report[str(percent)] = stage.message()
        stage.picture(f"strength_{percent}.png")
    stage.move_strength(16)
    yield from pause(0.5)
    stage.trigger()
    yield lambda: not stage.busy()
    report["done"] = stage.message()
    stage.picture("done.png")


def interrupted(stage):
    """Cancelled, asked twice, daemon killed: the picture stays, and the next job works."""
    document = stage.open_picture(stage.arguments["picture"])
    yield settled(document)
    stage.select(document, 220, 160, 96, 96)
    document.setModified(False)
    report = stage.report
    report["before"] = probes.describe(document)

    stage.set_seed(1, steps=200, preview=True)
    stage.trigger()
    yield lambda: stage.step() >= 2
    stage.picture("running.png")
    stage.trigger()
    report["second_trigger"] = stage.message()
    yield from pause(0.2)
    stage.click_button("maskgit_refine_cancel")
    yield lambda: not stage.busy()
    report["cancelled"] = {"message": stage.message(), "after": probes.describe(document)}

    stage.trigger()
    yield lambda: stage.step() >= 2
    stage.kill_daemon()
    yield lambda: not stage.busy()
    yield lambda: stage.floating() == stage.message()
    stage.picture("killed.png")
    report["killed"] = {"message": stage.message(), "after": probes.describe(document)}
    report["modified"] = document.modified()

    stage.set_seed(2, steps=4)
    stage.trigger()
    yield lambda: not stage.busy()
    yield from pause(0.2)
    report["next"] = {"message": stage.message(), "layers": len(stage.result_layers(document))}
    stage.picture("next.png")


def changed_meanwhile(stage):
    """The document, its size or its layer changes or goes while a job runs."""
    report = stage.report
    stage.set_seed(1, steps=200)

    def begin(name):
        document = stage.open_picture(stage.arguments["picture"], name)
        yield settled(document)
        stage.select(document, 220, 160, 96, 96)
        yield settled(document)
        stage.trigger()
        yield lambda: stage.step() >= 1
        return document

    def finish(name):
        yield lambda: not stage.busy()
        yield from pause(0.2)
        report[name] = stage.message()
        stage.picture(f"{name}.png")

    document = yield from begin("resized")
    document.resizeImage(0, 0, document.width() + 40, document.height())
    yield from finish("resized")
    report["resized_layers"] = len(stage.result_layers(document))

    document = yield from begin("layer_deleted")
    other = document.createNode("Other", "paintlayer")
    document.rootNode().addChildNode(other, None)
    yield settled(document)
    document.topLevelNodes()[0].remove()
    yield from finish("layer_deleted")
    report["layer_deleted_layers"] = len(stage.result_layers(document))

    document = yield from begin("layer_locked")
    document.topLevelNodes()[0].setLocked(True)
    yield from finish("layer_locked")
    report["layer_locked_layers"] = len(stage.result_layers(document))

    document = yield from begin("closed")
    document.setModified(False)
    document.close()
    yield from finish("closed")


def timed(stage):
    """For the benchmark: from trigger to the result on the canvas, job after job."""
    document = stage.open_picture(stage.arguments["picture"])
    yield settled(document)
    left, top, width, height = stage.arguments["selection"]
    stage.select(document, left, top, width, height)
    yield settled(document)
    middle = (left + width // 2, top + height // 2, 1, 1)
    jobs = stage.report["jobs"] = []
    for number in range(stage.arguments["jobs"] + 1):
        stage.set_seed(number, steps=stage.arguments["steps"])
        before = bytes(document.pixelData(*middle))

        def arrived(before=before):
            return bytes(document.pixelData(*middle)) != before

        beat, times = probes.Heartbeat(), probes.HandlerTimes()
        seen = probes.FirstTime(arrived)
        stage.trigger()
        yield lambda s=seen: s.at is not None or not stage.busy()
        yield lambda s=seen: s.at is not None and not stage.busy()
        handlers, gap = times.stop(), beat.stop()
        jobs.append(
            {
                "seconds": seen.seconds(),
                "message": stage.message(),
                "handlers_ms": handlers,
                "gap_ms": gap,
            }
        )
        yield from pause(0.3)  # Krita enables its action a moment after the layer came
        stage.application.action("edit_undo").trigger()
        yield lambda: not stage.result_layers(document)
        yield settled(document)
        yield from pause(0.2)
