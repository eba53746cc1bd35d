"""All settings, read once at start by a composition root. `docs/configuration.md` documents each."""

import json
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.urls import parse_networks, parse_ports

ENV_PREFIX = "SETR_"
MEBIBYTE = 1024 * 1024


class Settings(BaseSettings):
    """Typed, frozen settings; every field can be set by an environment variable `SETR_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore")

    # services
    data_dir: Path = Field(Path(".setr"), description="Where `setr up` keeps its data, logs and generated secrets.")
    database_url: str = Field("", description="Postgres 16+ with pgvector; empty: `setr up` starts its own.")
    redis_url: str = Field(
        "", description="Message broker (Redis, or an amqp:// URL); empty: `setr up` starts its own."
    )
    s3_endpoint: str = Field("", description="host:port of the S3 API; empty: `setr up` starts its own.")
    s3_secure: bool = Field(default=False, description="Use https to reach S3.")
    s3_access_key: SecretStr = Field(SecretStr(""), description="S3 access key.")
    s3_secret_key: SecretStr = Field(SecretStr(""), description="S3 secret key.")
    s3_region: str = Field("us-east-1", description="S3 region, always sent explicitly.")
    s3_bucket: str = Field("setr", description="The bucket; created at start when missing.")
    s3_public_endpoint: str = Field(
        "", description="host:port, or https://host, that clients use in presigned URLs; empty: s3_endpoint."
    )
    postgres_buffers_mib: int = Field(
        128, ge=16, description="Shared buffers of the Postgres that `setr up` starts, in MiB."
    )
    database_pool_size: int = Field(8, ge=1, description="Postgres connections a process keeps at most.")

    # API
    api_host: str = Field("127.0.0.1", description="Address that the API binds.")
    api_port: int = Field(8080, ge=0, le=65535, description="Port of the API; 0: a free one.")
    api_threads: int = Field(64, ge=2, description="Server threads; at most half of them serve long-polls.")
    public_url: str = Field("", description="Base URL in links; empty: derived from the request.")
    max_upload_mib: int = Field(4096, ge=1, description="Largest request body of an import, in MiB.")
    max_reference_mib: int = Field(20, ge=1, description="Largest reference picture of a query, in MiB.")
    metrics: bool = Field(default=True, description="Answer /metrics, for Prometheus; it asks for no key.")
    requests_per_minute: int = Field(
        0, ge=0, description="Requests that a key may send in a minute, unless it says otherwise; 0: any."
    )
    rate_limit_url: str = Field(
        "",
        pattern=r"^((rediss?|redis\+unix|memory)://.*)?$",
        description="Where requests are counted: Redis, or memory:// for each API process by itself; empty: redis_url.",
    )
    presigned_ttl_s: int = Field(900, ge=60, description="Life of presigned URLs, in seconds.")

    # models
    models_dir: Path = Field(
        Path(__file__).resolve().parent.parent / "models", description="Folder with demo-encoder/ and demo-reranker/."
    )
    encoders: dict[str, str] = Field(
        {"demo": "demo"}, description="Encoders that galleries may name: JSON of {name: spec}."
    )
    default_encoder: str = Field("demo", description="Encoder of a gallery that names none.")
    reranker: str = Field("demo", description="Spec of the judge.")
    reranker_api_key: SecretStr = Field(SecretStr(""), description="Bearer token of a remote judge, if it wants one.")
    reranker_calibration: str = Field(
        "", description="calibration.json of a remote judge; empty: temperature 1, bias 0, weight 0.5."
    )
    reranker_timeout_s: float = Field(
        20.0, gt=0, le=60, description="Seconds that a remote judge may take for all candidates of a query."
    )
    captioner: str = Field("", description="Spec of the model behind the strategy `caption`; empty: not offered.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where this worker computes.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Compute type of encoders.")
    torch_threads: int = Field(0, ge=0, description="CPU threads of torch in a worker; 0: torch's own choice.")
    models_per_worker: int = Field(
        2, ge=1, description="Encoders that a worker keeps loaded, where galleries use different ones."
    )
    embed_batch: int = Field(32, ge=1, description="Images a batch of an embedding unit.")
    embed_units: int = Field(
        2, ge=1, description="Units that an embed worker has in hand: one computes while others fetch, decode, commit."
    )
    decode_threads: int = Field(
        0, ge=0, description="Threads of an embed worker that fetch and decode pictures; 0: one a core, 4 to 16."
    )
    rerank_batch: int = Field(
        16, ge=1, description="Candidates a forward pass of the judge; requests in flight to a remote one."
    )
    rerank_memory_mib: int = Field(
        256, ge=0, description="Room for what the judge saw of pictures, on its device, in MiB; 0: look anew each time."
    )

    # ingest
    ingest_threads: int = Field(4, ge=1, description="Threads of an ingest worker.")
    ingest_batch: int = Field(64, ge=1, description="Items a transaction of an ingest unit.")
    unit_items: int = Field(256, ge=1, description="Items a unit that planning cuts an import into.")
    max_images_per_tenant: int = Field(
        0, ge=0, description="Images that a tenant may have in all its galleries, unless it says otherwise; 0: any."
    )
    max_image_mib: int = Field(50, ge=1, description="Largest picture file, in MiB.")
    max_image_megapixels: int = Field(50, ge=1, description="Largest picture that is decoded whole, in megapixels.")
    max_jpeg_megapixels: int = Field(250, ge=1, description="Largest JPEG (decoded at reduced scale), in megapixels.")
    max_manifest_mib: int = Field(256, ge=1, description="Largest manifest that is fetched from a URL, in MiB.")
    max_archive_entries: int = Field(1_000_000, ge=1, description="Most entries an uploaded archive may have.")
    max_archive_ratio: int = Field(200, ge=1, description="Largest ratio of unpacked to packed size of an entry.")
    max_unpacked_mib: int = Field(65_536, ge=1, description="Most MiB that a compressed tar may unpack to.")
    max_delete_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Largest share of a gallery that a mirror import removes, unless it says otherwise.",
    )
    thumbnail_px: int = Field(256, ge=32, description="Longer side of thumbnails, in pixels.")

    # pictures from elsewhere
    fetch_ports: str = Field("80,443", description="Ports that URLs may name: 80,443,8000-8999.")
    fetch_networks: str = Field(
        "", description="Networks that URLs may lead to although they are not public: 10.1.0.0/16,192.168.7.5."
    )
    fetch_timeout_s: float = Field(
        30.0, gt=0, description="Seconds a URL may take in all; at most a quarter of batch_limit_s counts."
    )
    fetch_threads: int = Field(8, ge=1, description="URLs that a unit fetches at once.")
    fetch_per_host: int = Field(8, ge=1, description="URLs of one host that a process fetches at once.")
    import_prefixes: dict[str, list[Annotated[str, Field(pattern=r"^s3://[^/\s]+(/.*)?$")]]] = Field(
        {},
        description="Buckets that tenants may import from: JSON of {tenant: [s3://bucket/prefix/, …]}; * is everybody.",
    )
    upload_ttl_hours: int = Field(24, ge=1, description="Hours that announced uploads wait for their import.")
    upload_url_ttl_s: int = Field(3600, ge=60, le=604_800, description="Life of URLs to upload to, in seconds.")
    max_upload_files: int = Field(1000, ge=1, le=10_000, description="Most files that one call may announce.")

    # durable work
    lease_s: float = Field(
        20.0, gt=0, description="A claimed unit or Idempotency-Key is free again this long after its last sign of life."
    )
    batch_limit_s: float = Field(120.0, gt=0, description="A batch older than this ends its worker process.")
    reconcile_every_s: float = Field(10.0, gt=0, description="Period of the reconciler.")
    deadlines_every_s: float = Field(2.0, gt=0, description="Period of the check of re-rank budgets.")
    heartbeat_s: float = Field(5.0, gt=0, description="Period of worker heartbeats.")
    worker_dead_after_s: float = Field(30.0, gt=0, description="A worker silent for this long counts as gone.")
    stalled_after_s: float = Field(
        120.0, gt=0, description="A queue is stalled when a due unit has waited for this long and none is running."
    )
    upkeep_every_s: float = Field(
        3600.0, gt=0, description="Period of upkeep: expired jobs, unused pictures, old keys."
    )
    webhooks_every_s: float = Field(2.0, gt=0, description="Period of looking for webhooks to be sent.")
    webhook_pauses_s: tuple[PositiveFloat, ...] = Field(
        (30, 300, 3600, 18000, 57600), description="Pauses between the tries of a webhook; after the last it failed."
    )
    job_retention_days: int = Field(30, ge=1, description="Days that finished jobs are kept.")
    query_retention_hours: int = Field(
        24, ge=1, description="Hours that queries and their reference pictures are kept."
    )

    # search
    exact_search_below: int = Field(20_000, ge=0, description="Galleries smaller than this are scanned exactly.")
    hnsw_ef_search: int = Field(200, ge=10, description="Width of the HNSW search.")
    hnsw_build_memory_mib: int = Field(
        512, ge=16, description="Memory of Postgres for building an HNSW index, in MiB; one that outgrows it is slow."
    )
    hnsw_build_workers: int = Field(
        1, ge=0, description="Processes of Postgres that help to build an HNSW index; 0: it is built by one."
    )
    builds_every_s: float = Field(15.0, gt=0, description="Period of looking for galleries that need an HNSW index.")
    rerank_depth: int = Field(50, ge=1, le=200, description="Candidates the judge sees, unless a query says otherwise.")
    rerank_budget_s: float = Field(
        20.0, gt=0, description="Seconds a query waits for the judge, unless it says otherwise."
    )

    # re-indexing
    standby_hours: float = Field(
        24.0, ge=0, description="Hours that a replaced index is kept, complete, so that one can go back to it."
    )
    self_check_sample: int = Field(
        50, ge=1, description="Queries, and pictures embedded anew, by which a new index is checked before it answers."
    )
    self_check_recall: float = Field(
        0.95, ge=0, le=1, description="Share of the exact results that a new index must find to pass its check."
    )

    # query batches
    max_batch_mib: int = Field(64, ge=1, description="Largest file of a query batch, in MiB.")
    max_batch_queries: int = Field(100_000, ge=1, description="Most queries of a batch.")
    batch_queries: int = Field(
        64, ge=1, description="Queries of a batch that a worker answers at once; others wait for them at most."
    )

    # duplicates and exports
    duplicate_distance: int = Field(
        4, ge=0, le=8, description="Bits of 64 that near-duplicates may differ in, unless a request says otherwise."
    )
    duplicates_max_images: int = Field(
        500_000, ge=1, description="Largest gallery that is searched for near-duplicates; an API process holds it."
    )
    export_rows: int = Field(50_000, ge=1, description="Images in each Parquet file of an export.")

    # logs
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severity that is logged."
    )
    log_format: Literal["json", "console"] = Field("json", description="JSON lines, or colours for people.")

    @field_validator("fetch_ports")
    @classmethod
    def _ports(cls, value: str) -> str:
        parse_ports(value)
        return value

    @field_validator("fetch_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        parse_networks(value)
        return value


def load_settings() -> Settings:
    """Settings from the environment. Raises pydantic's ValidationError, whose text names the wrong variable."""
    return Settings()


def inherited_environment() -> dict[str, str]:
    """A copy of this process's environment, for the children that `setr up` and the tests start."""
    return dict(os.environ)


def settings_environment(settings: Settings) -> dict[str, str]:
    """The variables that make a child process load these very settings (only those that differ from the defaults)."""
    variables: dict[str, str] = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
        elif isinstance(value, dict | tuple):
            text = json.dumps(value)
        else:
            text = str(value)
        variables[f"{ENV_PREFIX}{name.upper()}"] = text
    return variables
