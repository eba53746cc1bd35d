"""The `setr` command. A subcommand is imported when it is called, so that client calls stay fast."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import click


@dataclass(frozen=True)
class Entry:
    """A subcommand: `module:attribute` of its click command, and its line in the overview."""

    target: str
    summary: str

    def load(self) -> click.Command:
        """Import it."""
        module, _, attribute = self.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.target} is not a click command")
        return command


SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Use a server": {
        "import": Entry("cli.commands.imports:import_command", "Import pictures: a folder, an archive or a manifest."),
        "search": Entry("cli.commands.search:search", "Search by picture, by words, or by both."),
        "search-batch": Entry("cli.commands.batches:search_batch", "Search with a file of queries."),
        "jobs": Entry("cli.commands.jobs:jobs", "Look at jobs, wait for one, stop or retry it."),
        "galleries": Entry("cli.commands.galleries:galleries", "List, create and delete galleries."),
        "reindex": Entry("cli.commands.indexes:reindex", "Build a new index beside the one that answers."),
        "indexes": Entry("cli.commands.indexes:indexes", "List the indexes of a gallery."),
        "activate": Entry("cli.commands.indexes:activate", "Switch a gallery to another index, or back."),
        "schedule": Entry("cli.commands.schedules:schedule", "Import or re-index a gallery every night, by itself."),
        "feedback": Entry("cli.commands.feedback:feedback", "Fetch judgements of results, ready for training."),
        "export": Entry("cli.commands.exports:export_command", "Fetch metadata and vectors as Parquet files."),
    },
    "Run it on this machine": {
        "up": Entry("cli.local.up:up", "Start everything here and stay."),
        "demo": Entry("cli.demo.commands:demo", "Start everything, import a drawn catalog, search it, stop."),
        "demo-check": Entry("cli.demo.commands:demo_check", "Measure 50 composed queries on the demo gallery."),
        "migrate": Entry("cli.offline.migrate:migrate", "Bring the database to the current schema."),
        "keys": Entry("cli.offline.keys:keys", "Create, list, limit and revoke API keys."),
    },
    "Without a server": {
        "catalog": Entry("cli.offline.catalog:catalog", "Draw the synthetic product catalog."),
        "synthcir": Entry("cli.offline.synthcir:synthcir", "Draw the synthetic benchmark."),
        "eval": Entry("cli.offline.evaluate:evaluate_command", "Measure retrieval on a benchmark."),
        "size": Entry("cli.offline.size:size_command", "Estimate storage, memory, workers and cost."),
        "train": Entry("cli.offline.train:train", "Fine-tune a judge on triplets; train the demo models."),
    },
}


class LazyGroup(click.Group):
    """A group that imports a subcommand only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of the overview."""
        return [name for entries in SECTIONS.values() for name in entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand, imported; None when there is none of that name."""
        for entries in SECTIONS.values():
            if cmd_name in entries:
                return entries[cmd_name].load()
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The overview, from the table above: it imports nothing."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in entries.items()])


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's signature
    if wanted and not context.resilient_parsing:
        click.echo(f"setr {version('setr-service')}")
        context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print it.")
def main() -> None:
    """SETR Service: composed image search over product catalogs ("this one, but red")."""
