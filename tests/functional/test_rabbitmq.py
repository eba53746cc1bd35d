"""RabbitMQ instead of Redis, by nothing but a URL; needs rabbitmq-server (Debian: apt-get install rabbitmq-server)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import pictures
from core.models import Queue
from tests.functional.conftest import Service, running_service
from tests.rabbitmq import RabbitMQ, program, running_rabbitmq
from workers.dispatch import CeleryDoorbell

pytestmark = [
    pytest.mark.functional,
    pytest.mark.timeout(600),
    pytest.mark.skipif(program() is None, reason="rabbitmq-server is not on this machine"),
]
PICTURES = 160


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with running_rabbitmq(Path(tmp_path_factory.mktemp("rabbitmq"))) as running:
        yield running


@pytest.fixture(scope="module")
def rabbit_service(tmp_path_factory: pytest.TempPathFactory, broker: RabbitMQ) -> Iterator[Service]:
    with running_service(tmp_path_factory, broker_url=broker.url) as running:
        yield running


def test_a_queue_that_nobody_declared_is_empty_and_can_be_rung(broker: RabbitMQ) -> None:
    bell = CeleryDoorbell(broker.url)
    assert bell.depth(Queue.EMBED_GPU) == 0
    assert bell.ring(Queue.EMBED_GPU, times=3)
    while bell.depth(Queue.EMBED_GPU) != 3:  # the broker counts a message a moment after it was sent
        broker.supervisor.poll()


def test_an_import_and_a_search_outlast_a_restart_of_the_broker(rabbit_service: Service, broker: RabbitMQ) -> None:
    gallery = rabbit_service.gallery("rabbit")
    archive = pictures.catalog(PICTURES)
    job_id = rabbit_service.import_files(gallery, ("catalog.zip", archive.read_bytes()))
    rabbit_service.until(lambda: rabbit_service.job(job_id)["progress"]["created"])
    broker.restart()
    job = rabbit_service.ended(job_id)
    assert (job["state"], job["progress"]["created"]) == ("succeeded", PICTURES)
    found = rabbit_service.query(gallery, reference={"external_id": "sku-000000"}, text="in red", top_k=5)
    assert len(found["result"]["results"]) == 5
    assert found["result"]["reranked"] is True
