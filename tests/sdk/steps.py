"""What several scenarios do, each step with what must be true of its answer."""

from support import PRODUCT, Refused, same, until

UNDER_WAY = ("CHECK", "CREATE")
LONGEST_PAGE = 50


def check(sdk, wanted):
    answer = sdk.call("BatchCheckDeviceNames", ProductKey=PRODUCT, DeviceName=wanted)
    return succeeded(answer)["Data"]["ApplyId"]


def register(sdk, apply):
    answer = sdk.call("BatchRegisterDeviceWithApplyId", ProductKey=PRODUCT, ApplyId=apply)
    same(succeeded(answer)["Data"]["ApplyId"], apply)


def status(sdk, apply):
    answer = sdk.call("QueryBatchRegisterDeviceStatus", ProductKey=PRODUCT, ApplyId=apply)
    return succeeded(answer)["Data"]


def poll(sdk, apply):
    return until(lambda: status(sdk, apply), lambda data: data["Status"] not in UNDER_WAY)


def rows(sdk, apply, total):
    """All rows of an apply, page by page, up to the empty page after the last."""
    found, page = [], 1
    while True:
        answer = sdk.call(
            "QueryPageByApplyId", ApplyId=apply, CurrentPage=page, PageSize=LONGEST_PAGE
        )
        succeeded(answer)
        pages = -(-total // LONGEST_PAGE)
        same([answer[key] for key in ("Page", "PageSize", "PageCount", "Total")],
             [page, LONGEST_PAGE, pages, total])
        found += answer["ApplyDeviceList"]["ApplyDeviceInfo"]
        if page > pages:
            same(len(found), total)
            return found
        page += 1


def create(sdk, wanted):
    apply = check(sdk, wanted)
    same(poll(sdk, apply)["Status"], "CHECK_SUCCESS")
    register(sdk, apply)
    same(poll(sdk, apply)["Status"], "CREATE_SUCCESS")
    return apply


def succeeded(answer):
    same((answer.get("Success"), answer.get("Code")), (True, None))
    assert answer["RequestId"], "no RequestId"
    return answer


def failed(answer, code):
    same((answer.get("Success"), answer.get("Code")), (False, code))
    assert answer["ErrorMessage"], "no ErrorMessage"
    return answer


def refused(call, status, code):
    try:
        answer = call()
    except Refused as refusal:
        same((refusal.status, refusal.code), (status, code))
        assert refusal.request_id, "no RequestId"
        assert refusal.message, "no message"
        return refusal
    raise AssertionError(f"{code} expected, got {answer}")


def credentials(found):
    """Each row has its own, of the published form."""
    for row in found:
        same(len(row["DeviceSecret"]), 32)
    for key in ("DeviceName", "DeviceSecret", "IotId"):
        same(len({row[key] for row in found}), len(found))


def created_once(sdk, wanted, apply=None):
    devices = sdk.simulator.devices()
    for name in wanted:
        same(devices[name]["created"], 1)
        same(devices[name]["apply_id"], apply)


def never_created(sdk, unwanted):
    devices = sdk.simulator.devices()
    same([name for name in unwanted if name in devices], [])
