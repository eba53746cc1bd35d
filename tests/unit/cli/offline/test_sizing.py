"""Sizes and durations by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from cli.offline.sizing import Load, Prices, Rates, Workers, hnsw_bytes, size, vector_row_bytes

LOAD, RATES, WORKERS, PRICES = Load(), Rates(), Workers(), Prices()
TEN_MILLION = 10_000_000


@pytest.mark.parametrize(("dim", "measured"), [(512, 1180 + 34), (768, 1652 + 34)])
def test_rows_of_vectors_are_as_large_as_real_ones(dim: int, measured: float) -> None:
    assert vector_row_bytes(dim) == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(("dim", "measured"), [(512, 1366), (768, 2049)])
def test_an_index_is_as_large_as_a_real_one(dim: int, measured: float) -> None:
    assert hnsw_bytes(dim, 16) == pytest.approx(measured, rel=0.02)


def test_a_page_holds_whole_vectors_only() -> None:
    assert hnsw_bytes(512, 16) == 8192 / 6
    assert vector_row_bytes(512) == pytest.approx(8192 / 7 + 34)


def test_a_large_vector_stays_in_its_row() -> None:
    """1024 dimensions make a row of 2096 bytes, three of which fill a page: nothing is put aside."""
    assert vector_row_bytes(1024) == 8192 / 3 + 34


def test_ten_million_images_by_hand() -> None:
    found = size(TEN_MILLION, LOAD, RATES, WORKERS, PRICES)
    assert found.pictures_gb == pytest.approx(1000)
    assert found.thumbnails_gb == pytest.approx(80)
    assert found.rows_gb == pytest.approx(16)
    assert found.hnsw_gb == pytest.approx(2 * 13.653, rel=1e-3)
    assert found.vectors_gb == pytest.approx(2 * 12.043, rel=1e-3)
    assert found.memory_gb == pytest.approx(13.653 + 4, rel=1e-3)
    assert found.embed_gpu_hours == pytest.approx(1e7 / 600 / 3600)
    assert found.ingest_core_hours == pytest.approx(1e7 * 0.015 / 3600)
    # Ingest takes 15 ms / 16 cores = 0.94 ms an image, a GPU 1.67 ms: the GPU is the slower one.
    assert found.import_hours == pytest.approx(1e7 / 600 / 3600)
    assert found.build_hours == pytest.approx(1e7 / 5600 / 3600)
    assert found.night_hours == pytest.approx((1e5 / 600 + 9.9e6 * 0.002 / 16) / 3600)
    # 5 queries a second / 0.6 = 8.33; 50 ms of a core each; half of them 800 ms of a GPU.
    assert (found.query_cores, found.judge_gpus) == (1, 4)


def test_costs_by_hand() -> None:
    found = size(TEN_MILLION, LOAD, RATES, WORKERS, PRICES)
    assert found.import_cost == pytest.approx(4.6296 * 1.5 + 41.667 * 0.04, rel=1e-3)
    standing = (1 * 0.04 + 4 * 1.5) * 730
    assert found.month_cost == pytest.approx(1080 * 0.02 + 67.392 * 0.1 + 17.653 * 3 + standing, rel=1e-3)


def test_without_gpus_cores_embed() -> None:
    cores = replace(WORKERS, gpus=0, embed_cores=32)
    found = size(1_000_000, LOAD, RATES, cores, PRICES)
    assert found.import_hours == pytest.approx(1e6 / (14 * 32) / 3600)
    assert found.import_cost == pytest.approx((1e6 / 14 + 1e6 * 0.015) / 3600 * 0.04)


def test_a_slow_source_is_what_limits() -> None:
    found = size(1_000_000, LOAD, replace(RATES, ingest_core_ms=160), WORKERS, PRICES)
    assert found.import_hours == pytest.approx(1e6 * 0.010 / 3600)


def test_what_cannot_be_indexed_is_refused() -> None:
    with pytest.raises(ValueError, match="4000"):
        size(1, replace(LOAD, dim=4096), RATES, WORKERS, PRICES)


def test_the_command_takes_every_assumption() -> None:
    result = CliRunner().invoke(main, ["size", "--images", "10000000", "--dim", "768", "--m", "16", "--markdown"])
    assert result.exit_code == 0, result.output
    assert "| Postgres: HNSW, all generations | 41 GB |" in result.output
    assert "| images | 10,000,000 |" in result.output


def test_the_command_refuses_nonsense() -> None:
    for options in (["--dim", "5000"], ["--m", "1"], ["--gpu-images-s", "0"], ["--busy-share", "0"]):
        result = CliRunner().invoke(main, ["size", *options])
        assert (result.exit_code, "do not go together" in result.output) == (2, True), options


def test_the_guide_shows_the_table_of_today() -> None:
    guide = (Path(__file__).resolve().parents[4] / "docs" / "scaling.md").read_text()
    shown = guide.partition("<!-- sizing:begin -->")[2].partition("<!-- sizing:end -->")[0]
    assert shown.strip() == CliRunner().invoke(main, ["size", "--markdown"]).output.strip()
