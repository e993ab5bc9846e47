"""Fixtures shared by all tests: an S3 server of our own."""

import pytest


@pytest.fixture(scope="session")
def s3_url():
    """URL of an empty bucket on a local S3 server; the environment points every driver to it."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow; only for those who ask

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        _create_bucket("archive")
        yield "s3://archive"
    server.stop()


def _create_bucket(name):
    import s3fs  # noqa: PLC0415

    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
