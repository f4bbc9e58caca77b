"""The program ``stream-prune``: its commands, and the place where an error becomes an exit code.

Only typer and the standard library are imported here and at the top of the commands' files, so that
``--help`` is instant; a command imports the rooms it needs when it runs.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from stream_prune.cli import (
    INSTALL,
    advise,
    compare,
    config_command,
    datasets,
    events,
    fit_scaling,
    list_versions,
    produce,
    promote,
    publish,
    pull,
    quickstart,
    recommend,
    replay,
    report,
    rollback,
    score,
    serve,
    stream,
    stream_demo,
    train,
)
from stream_prune.cli.help_text import help_of
from stream_prune.errors import ConfigError, RunError

EXIT_RUN = 1
EXIT_CONFIG = 2
EXIT_INTERRUPTED = 130
DEBUG = "--debug"

app = typer.Typer(
    name="stream-prune",
    help="Keeps a recommender small while it trains on a stream.",
    epilog="Start with: stream-prune quickstart",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for _command, _short in (
    (quickstart.quickstart, "the main job, end to end, on a real log"),
    (replay.replay, "an event log into a mini-batch log, and train on it"),
    (produce.produce, "a historical log played into Kafka"),
    (stream.stream, "Kafka topics into a mini-batch log, for ever"),
    (stream_demo.stream_demo, "the whole loop on one machine, from broker to served model"),
    (train.train, "train on a mini-batch log"),
    (recommend.recommend, "a recommender of implicit feedback, trained and ranked"),
    (compare.compare, "a grid of runs over the same events, in one table"),
    (fit_scaling.fit_scaling, "a law of loss and size through finished runs"),
    (advise.advise, "how small a model may be at a given loss"),
    (publish.publish, "a run's model into MLflow"),
    (pull.pull, "a registered model as a verified folder"),
    (promote.promote, "make a version champion by hand"),
    (rollback.rollback, "back to the champion before"),
    (score.score, "scores of a file of events"),
    (serve.serve, "a model behind HTTP"),
    (events.events, "what a run decided, when, and why"),
    (report.report, "an HTML report on runs"),
    (config_command.config, "every key of a configuration file"),
):
    app.command(help=help_of(_command), short_help=_short)(_command)
app.command("list", help=help_of(list_versions.list_versions), short_help="a model's versions")(
    list_versions.list_versions
)
app.add_typer(datasets.app, name="datasets", short_help="historical logs as event streams")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("stream-prune"))
        raise typer.Exit()


@app.callback()
def _options(
    debug: Annotated[  # taken out of the arguments before they are parsed: it may stand anywhere
        bool, typer.Option(DEBUG, help="Show the traceback of an error (may stand anywhere).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del debug, version


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code is 0, 1 (run), 2 (configuration) or 130 (interrupted)."""
    debug = DEBUG in arguments
    try:
        app([a for a in arguments if a != DEBUG], prog_name="stream-prune")
    except SystemExit as exit_:
        if exit_.code == EXIT_INTERRUPTED:
            return _fail("interrupted", EXIT_INTERRUPTED, debug)
        return exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED, debug)
    except ConfigError as error:
        return _fail(str(error), EXIT_CONFIG, debug)
    except RunError as error:
        return _fail(str(error), EXIT_RUN, debug)
    except OSError as error:
        return _fail(_of_the_system(error), EXIT_RUN, debug)
    except ModuleNotFoundError as error:
        return _fail(_not_installed(error), EXIT_CONFIG, debug)
    except Exception as error:  # noqa: BLE001 - the last stop before the user
        text = f"unexpected {type(error).__name__}: {error}: run again with {DEBUG} to see where"
        return _fail(text, EXIT_RUN, debug)
    return 0


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stdout.flush()
    print(f"stream-prune: {message}", file=sys.stderr)
    return code


def _of_the_system(error: OSError) -> str:
    """`No space left on device: runs/a/journal.jsonl` instead of `[Errno 28] ...`."""
    places = [str(p) for p in (error.filename, error.filename2) if p is not None]
    return ": ".join([error.strerror or str(error) or type(error).__name__, *places])


def _not_installed(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    if package in ("stream_prune", "beam_jobs", "serving", ""):
        return f"unexpected ModuleNotFoundError: {error}: run again with {DEBUG} to see where"
    return f"the package {package!r} is not installed: {INSTALL}"
