"""aliyun-python-sdk-iot, which signs with RPC v1, against the simulator at $SIMULATOR."""

import importlib
import json
import sys
import warnings
from xml.etree import ElementTree

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkiot.request.v20180120.QueryBatchRegisterDeviceStatusRequest import (
    QueryBatchRegisterDeviceStatusRequest,
)
from aliyunsdkiot.request.v20180120.QueryDeviceDetailRequest import QueryDeviceDetailRequest

import scenarios
from steps import create, failed
from support import (
    ACCESS_KEY_ID,
    ACCESS_KEY_SECRET,
    PATIENCE,
    PRODUCT,
    Ledger,
    Refused,
    names,
    run,
    same,
    simulator,
)

REGION = "cn-shanghai"
# A machine under load may take longer than the SDK waits by itself.
TIMEOUTS = {"connect_timeout": PATIENCE, "timeout": PATIENCE}


class OldSdk:
    name = "old SDK"
    # It finds its own string to sign in the answer, and concludes that the secret is wrong.
    wrong_secret = "InvalidAccessKeySecret"

    def __init__(self, simulator, endpoint=None, client=None):
        self.simulator = simulator
        self.endpoint = endpoint or simulator.address
        self.client = client or AcsClient(ACCESS_KEY_ID, ACCESS_KEY_SECRET, REGION, **TIMEOUTS)

    def at(self, endpoint):
        return OldSdk(self.simulator, endpoint, self.client)

    def with_key(self, key=ACCESS_KEY_ID, secret=ACCESS_KEY_SECRET, token=None):
        if token:
            credential = StsTokenCredential(key, secret, token)
            client = AcsClient(region_id=REGION, credential=credential, **TIMEOUTS)
        else:
            client = AcsClient(key, secret, REGION, **TIMEOUTS)
        return OldSdk(self.simulator, self.endpoint, client)

    def request(self, kind, parameters):
        request = kind()
        request.set_endpoint(self.endpoint)
        for name, value in parameters.items():
            plural = "s" if isinstance(value, list) else ""
            getattr(request, f"set_{name}{plural}")(value)
        return request

    def call(self, action, **parameters):
        kind = f"{action}Request"
        module = importlib.import_module(f"aliyunsdkiot.request.v20180120.{kind}")
        request = self.request(getattr(module, kind), parameters)
        try:
            return json.loads(self.client.do_action_with_exception(request))
        except ServerException as error:
            raise Refused(
                error.get_http_status(),
                error.get_error_code(),
                error.get_error_msg(),
                error.get_request_id(),
            ) from error


def the_state_by_get_and_as_xml(sdk):
    apply = create(sdk, names(1))
    ledger = Ledger(sdk.simulator)
    parameters = {"ProductKey": PRODUCT, "ApplyId": apply}
    request = sdk.request(QueryBatchRegisterDeviceStatusRequest, parameters)
    request.set_method("GET")
    request.set_accept_format("XML")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        answer = ElementTree.fromstring(sdk.client.do_action(request))

    # The root that all published samples have.
    same(answer.tag, "QueryBatchCheckDeviceNamesStatusResponse")
    same(answer.findtext("Success"), "true")
    same(answer.findtext("Data/Status"), "CREATE_SUCCESS")
    same(list(answer.find("Data/InvalidList")), [])
    call = ledger.only()
    same((call["code"], call["apply_id"]), ("OK", apply))


def a_device_by_get(sdk):
    [name] = names(1)
    create(sdk, [name])
    ledger = Ledger(sdk.simulator)
    parameters = {"ProductKey": PRODUCT, "DeviceName": name}
    request = sdk.request(QueryDeviceDetailRequest, parameters)
    request.set_method("GET")

    answer = json.loads(sdk.client.do_action_with_exception(request))

    same(answer["Data"]["DeviceName"], name)
    same(ledger.only()["code"], "OK")


def a_missing_number_is_refused(sdk):
    """It sends what is None as the text `None`."""
    ledger = Ledger(sdk.simulator)

    answer = sdk.call("QueryPageByApplyId", ApplyId=None, CurrentPage=1, PageSize=10)

    failed(answer, "iot.device.InvalidFormattedApplyId")
    same(ledger.only()["http_status"], 200)


OWN = [
    ("the state, by GET and as XML", the_state_by_get_and_as_xml),
    ("a device, by GET", a_device_by_get),
    ("None for a number is refused", a_missing_number_is_refused),
]

if __name__ == "__main__":
    sys.exit(1 if run(OldSdk(simulator()), scenarios.ALL + OWN) else 0)
