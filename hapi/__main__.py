"""`hapi` and `python -m hapi`.

A session (`hapi AGENT …`), and hub and runner in the foreground, have to be up soon, so they start
without click (a hub, if it has no options); the rest of the command line is loaded for the other
verbs only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from hapi.startup import (
    defer_garbage_collection,
    discard_generated_source,
    exit_process,
    import_common_modules,
    resume_garbage_collection,
)

VERBS = frozenset(
    (
        *("up", "hub", "runner", "sessions", "resume", "attach", "auth", "doctor"),
        *("completion", "mcp", "ping-peer", "inspect-peer", "help"),
    )
)
OWN_FLAGS = frozenset(("--help", "-h", "--version", "-V"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `hapi` with `arguments` (by default those of the command line); the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _show_every_character()
    try:
        return _run(words, is_program=arguments is None)
    except (KeyboardInterrupt, BrokenPipeError) as end:
        return _exit_silently(end)
    except (ImportError, SyntaxError) as error:
        print(f"hapi: {_broken_installation(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        from hapi.cli.base.errors import known_failure

        failure = known_failure(error)
        if failure is None:
            raise
        print(f"hapi: {failure.sentence}", file=sys.stderr)
        return failure.exit_code


def _broken_installation(error: ImportError | SyntaxError) -> str:
    """The sentence for a module that cannot be loaded. Nothing more of HAPI is imported here."""
    if isinstance(error, SyntaxError):
        file, line, what = error.filename, error.lineno, error.msg
    else:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        file = frame.tb_frame.f_code.co_filename if frame is not None else None
        line, what = frame.tb_lineno if frame is not None else None, str(error)
    return (
        f"this installation does not load: {type(error).__name__}: {what} ({file}, line {line}). "
        "Install hapi-runner again; hubs, runners and sessions that run already are not affected."
    )


def _run(words: list[str], is_program: bool) -> int:
    if words == ["mcp"] and is_program:
        from hapi import mcp_relay

        if mcp_relay.has_session():
            exit_process(mcp_relay.run())
    if words[:1] in (["hub"], ["up"]):
        defer_garbage_collection()
        discard_generated_source()
        import_common_modules()
        if words == ["hub"]:
            from hapi.cli.hub.foreground import serve_hub

            return serve_hub({})
    elif words[:1] == ["runner"] and "start-sync" in words:
        defer_garbage_collection()
        discard_generated_source()
        import_common_modules()
        from hapi.cli.runner.foreground import run_words

        done = run_words(words[1:])
        if done is not None:
            return done
        resume_garbage_collection()
    elif "_HAPI_COMPLETE" not in os.environ and not (
        words and (words[0] in VERBS or words[0] in OWN_FLAGS)
    ):
        defer_garbage_collection()
        discard_generated_source()
        import_common_modules()
        from hapi.session.main import run

        exit_code = run(words, os.environ)
        if is_program:
            exit_process(exit_code)
        return exit_code
    from hapi.cli.app import run_click

    return run_click(words)


def _show_every_character() -> None:
    """Have output that the terminal's encoding lacks written as `\\u20ac`, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="backslashreplace")


def _exit_silently(end: BaseException) -> int:
    """The exit code after Ctrl+C or a broken pipe; keeps the interpreter quiet as well."""
    if isinstance(end, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return 130


if __name__ == "__main__":
    sys.exit(main())
