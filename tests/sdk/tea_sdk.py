"""alibabacloud-iot20180120 against the simulator at $SIMULATOR: as it comes, signing with ACS3, and
told to sign with RPC v1."""

import re
import sys

from alibabacloud_iot20180120 import models
from alibabacloud_iot20180120.client import Client
from alibabacloud_tea_openapi.exceptions import (
    ClientException,
    ServerException,
    ThrottlingException,
)
from alibabacloud_tea_openapi.models import Config

import scenarios
from support import (
    ACCESS_KEY_ID,
    ACCESS_KEY_SECRET,
    PATIENCE,
    PRODUCT,
    Ledger,
    Refused,
    run,
    same,
    simulator,
    until,
)


class TeaSdk:
    wrong_secret = "SignatureDoesNotMatch"

    def __init__(self, simulator, algorithm=None, endpoint=None, key=None):
        self.simulator, self.algorithm = simulator, algorithm
        self.name = "Tea SDK, " + (algorithm or "ACS3")
        self.endpoint = endpoint or simulator.address
        self.key = key or (ACCESS_KEY_ID, ACCESS_KEY_SECRET, None)
        key_id, secret, token = self.key
        self.client = Client(Config(
            access_key_id=key_id,
            access_key_secret=secret,
            security_token=token,
            signature_algorithm=algorithm,
            endpoint=self.endpoint,
            protocol="http",
            region_id="cn-shanghai",
            # A machine under load may take longer than the SDK waits by itself.
            connect_timeout=PATIENCE * 1000,
            read_timeout=PATIENCE * 1000,
        ))

    def at(self, endpoint):
        return TeaSdk(self.simulator, self.algorithm, endpoint, self.key)

    def with_key(self, key=ACCESS_KEY_ID, secret=ACCESS_KEY_SECRET, token=None):
        return TeaSdk(self.simulator, self.algorithm, self.endpoint, (key, secret, token))

    def call(self, action, **parameters):
        request = getattr(models, f"{action}Request")().from_map(parameters)
        method = re.sub("(?<=[a-z])(?=[A-Z])", "_", action).lower()
        try:
            response = getattr(self.client, method)(request)
        except (ClientException, ServerException, ThrottlingException) as error:
            raise Refused(
                error.status_code, error.code, error.message, error.request_id
            ) from error
        same(response.status_code, 200)
        # It says nothing of an answer that does not have the shape of its model.
        assert response.body is not None, "the answer does not fit the model"
        return response.body.to_map()


def throttling_tells_when_to_come_back(sdk):
    ledger = Ledger(sdk.simulator)

    def ask():
        try:
            return sdk.client.query_product(models.QueryProductRequest(product_key=PRODUCT))
        except ThrottlingException as error:
            return error

    error = until(ask, lambda answer: isinstance(answer, ThrottlingException))

    same((error.status_code, error.code, error.retry_after), (400, "Throttling.User", 1500))
    same(ledger.calls()[-1]["code"], "Throttling.User")


OWN = [("throttling tells when to come back", throttling_tells_when_to_come_back)]

if __name__ == "__main__":
    failed = 0
    for algorithm in (None, "v2"):
        failed += run(TeaSdk(simulator(), algorithm), scenarios.ALL + OWN)
    sys.exit(1 if failed else 0)
