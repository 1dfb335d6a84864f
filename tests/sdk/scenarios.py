"""What every SDK must be able to do, in the words of the wire.

A scenario gets an SDK behind one method, `call(action, **parameters)`, which returns what the SDK
makes of the answer, as a dictionary, and raises `Refused` for what it raises. Each asserts that,
and what the simulator's ledger says."""

from steps import (
    LONGEST_PAGE,
    check,
    create,
    created_once,
    credentials,
    failed,
    never_created,
    poll,
    refused,
    register,
    rows,
    status,
    succeeded,
)
from support import ACCESS_KEY_SECRET, PRODUCT, Ledger, Refused, Relay, names, same, until


def the_whole_flow(sdk):
    wanted, ledger, simulator = names(120), Ledger(sdk.simulator), sdk.simulator
    empty = {"ValidList": {"Name": []}, "InvalidList": {"Name": []}}

    with simulator.fault("sdk-check", kind="stuck", phase="CHECK", names=wanted[:1]):
        apply = check(sdk, wanted)
        same(status(sdk, apply), {"Status": "CHECK", **empty})
    same(poll(sdk, apply), {"Status": "CHECK_SUCCESS", **empty})
    with simulator.fault("sdk-create", kind="stuck", phase="CREATE", names=wanted[:1]):
        register(sdk, apply)
        same(status(sdk, apply), {"Status": "CREATE", **empty})
    same(poll(sdk, apply), {"Status": "CREATE_SUCCESS", **empty})
    found = rows(sdk, apply, len(wanted))

    same([row["DeviceName"] for row in found], wanted)
    credentials(found)
    same(ledger.told(), [
        ("BatchCheckDeviceNames", "OK"),
        ("QueryBatchRegisterDeviceStatus", "OK"),
        ("BatchRegisterDeviceWithApplyId", "OK"),
        ("QueryBatchRegisterDeviceStatus", "OK"),
        ("QueryPageByApplyId", "OK"),
    ])
    same({call["apply_id"] for call in ledger.calls()}, {apply})
    same(set(ledger.statuses()), {200})
    same(ledger.calls()[0]["name_list"], wanted)
    created_once(sdk, wanted, apply)


def names_with_nicknames(sdk):
    wanted, ledger = names(12), Ledger(sdk.simulator)
    entries = [{"DeviceName": name} for name in wanted]
    entries[0]["DeviceNickname"] = "智能灯_1"
    wanted[1] = entries[1]["DeviceName"] = wanted[1] + ".@:_"

    answer = sdk.call("BatchCheckDeviceNames", ProductKey=PRODUCT, DeviceNameList=entries)
    apply = succeeded(answer)["Data"]["ApplyId"]
    same(poll(sdk, apply)["Status"], "CHECK_SUCCESS")
    register(sdk, apply)
    same(poll(sdk, apply)["Status"], "CREATE_SUCCESS")

    same(ledger.calls()[0]["name_list"], wanted)
    created_once(sdk, wanted, apply)
    answer = sdk.call("QueryDeviceDetail", ProductKey=PRODUCT, DeviceName=wanted[0])
    same(succeeded(answer)["Data"]["Nickname"], "智能灯_1")


def random_names(sdk):
    ledger = Ledger(sdk.simulator)

    answer = sdk.call("BatchRegisterDevice", ProductKey=PRODUCT, Count=60)
    apply = succeeded(answer)["Data"]["ApplyId"]
    same(poll(sdk, apply)["Status"], "CREATE_SUCCESS")
    found = rows(sdk, apply, 60)

    credentials(found)
    same(ledger.told(), [
        ("BatchRegisterDevice", "OK"),
        ("QueryBatchRegisterDeviceStatus", "OK"),
        ("QueryPageByApplyId", "OK"),
    ])
    created_once(sdk, [row["DeviceName"] for row in found], apply)


def devices_are_imported(sdk):
    wanted, ledger = names(60), Ledger(sdk.simulator)
    devices = [
        {"DeviceName": name, "DeviceSecret": f"secret-{name}", "Sn": f"SN_{number}"}
        for number, name in enumerate(wanted)
    ]

    succeeded(sdk.call("BatchCheckImportDevice", ProductKey=PRODUCT, DeviceList=devices))
    answer = sdk.call("BatchImportDevice", ProductKey=PRODUCT, DeviceList=devices)
    apply = succeeded(answer)["Data"]["ApplyId"]

    def imported():
        found = []
        for page in (1, 2):
            answer = sdk.call(
                "QueryImportedDeviceByApplyId", ApplyId=apply, PageNo=page, PageSize=LONGEST_PAGE
            )
            found += succeeded(answer)["DeviceList"]["device"]
        return found

    found = until(imported, lambda found: len(found) >= len(wanted))
    same(found, [{**device, "ProductKey": PRODUCT} for device in devices])
    same(ledger.told(), [
        ("BatchCheckImportDevice", "OK"),
        ("BatchImportDevice", "OK"),
        ("QueryImportedDeviceByApplyId", "OK"),
    ])
    created_once(sdk, wanted, apply)


def a_bad_import_is_refused(sdk):
    good, twice = names(2)
    secret = "secret-1"
    devices = [
        {"DeviceName": good, "DeviceSecret": secret},
        {"DeviceName": "no name", "DeviceSecret": secret},
        {"DeviceName": twice, "DeviceSecret": secret},
        {"DeviceName": twice, "DeviceSecret": secret},
        {"DeviceName": good + "-s", "DeviceSecret": "no secret"},
        {"DeviceName": good + "-n", "DeviceSecret": secret, "Sn": "no-sn"},
    ]
    ledger = Ledger(sdk.simulator)

    checked = sdk.call("BatchCheckImportDevice", ProductKey=PRODUCT, DeviceList=devices)
    imported = sdk.call("BatchImportDevice", ProductKey=PRODUCT, DeviceList=devices)

    # One answer has bare lists, the other wraps each of them.
    data = failed(checked, "iot.device.InvalidDeviceParams")["Data"]
    same(data["InvalidDeviceNameList"], ["no name"])
    same(data["RepeatedDeviceNameList"], [twice])
    same(data["InvalidDeviceSecretList"], ["no secret"])
    same(data["InvalidSnList"], ["no-sn"])
    assert {"no name", good + "-s", good + "-n"} <= {
        detail["DeviceName"] for detail in data["InvalidDetailList"]
    }
    data = failed(imported, "iot.device.InvalidDeviceParams")["Data"]
    same(data["InvalidDeviceNameList"], {"invalidDeviceName": ["no name"]})
    same(data["RepeatedDeviceNameList"], {"repeatedDeviceName": [twice]})
    same(data["InvalidDeviceSecretList"], {"invalidDeviceSecret": ["no secret"]})
    same(data["InvalidSnList"], {"invalidSn": ["no-sn"]})
    assert data["InvalidDetailList"]["InvalidDetailList"], "no details"
    same(ledger.told(), [
        ("BatchCheckImportDevice", "iot.device.InvalidDeviceParams"),
        ("BatchImportDevice", "iot.device.InvalidDeviceParams"),
    ])
    never_created(sdk, [good, twice])


def wrong_names_are_listed_at_once(sdk):
    good = names(1)
    ledger = Ledger(sdk.simulator)
    wrong = ["abc", "no spaces", "näme"]

    answer = sdk.call("BatchCheckDeviceNames", ProductKey=PRODUCT, DeviceName=good + wrong)

    data = failed(answer, "iot.device.InvalidDeviceNameExisted")["Data"]
    same(data["InvalidDeviceNameList"], {"InvalidDeviceName": wrong})
    details = data["InvalidDetailList"]["InvalidDetailList"]
    same([detail["DeviceName"] for detail in details], wrong)
    assert all(detail["ErrorMsg"] for detail in details), "no ErrorMsg"
    call = ledger.only()
    same((call["code"], call["http_status"]), ("iot.device.InvalidDeviceNameExisted", 200))
    same(call["name_list"], good + wrong)
    never_created(sdk, good)


def wrong_nicknames_are_listed_at_once(sdk):
    [name] = names(1)
    ledger = Ledger(sdk.simulator)
    entries = [{"DeviceName": name, "DeviceNickname": "a lamp*~+%"}]

    answer = sdk.call("BatchCheckDeviceNames", ProductKey=PRODUCT, DeviceNameList=entries)

    data = failed(answer, "iot.device.InvalidDeviceNickNameExisted")["Data"]
    same(data["InvalidDeviceNicknameList"], {"InvalidDeviceNickname": ["a lamp*~+%"]})
    [detail] = data["InvalidDetailList"]["InvalidDetailList"]
    same((detail["DeviceName"], detail["NickName"]), (name, "a lamp*~+%"))
    same(ledger.only()["code"], "iot.device.InvalidDeviceNickNameExisted")


def a_name_given_twice_is_listed_at_once(sdk):
    once, twice = names(2)
    ledger = Ledger(sdk.simulator)

    answer = sdk.call("BatchCheckDeviceNames", ProductKey=PRODUCT, DeviceName=[once, twice, twice])

    data = failed(answer, "iot.device.InvalidDeviceNameExisted")["Data"]
    same(data["RepeatedDeviceNameList"], {"RepeatDevieNameList": [twice]})
    same(ledger.only()["names"], 3)


def an_existing_name_fails_the_check(sdk):
    taken, free = names(2)
    create(sdk, [taken])
    ledger = Ledger(sdk.simulator)

    apply = check(sdk, [taken, free])
    data = poll(sdk, apply)

    same(data["Status"], "CHECK_FAILED")
    same((data["ValidList"], data["InvalidList"]), ({"Name": [free]}, {"Name": [taken]}))
    # Elsewhere this inner key starts with a capital.
    [detail] = data["InvalidDetailList"]["invalidDetailList"]
    same(detail["DeviceName"], taken)
    assert detail["ErrorMsg"], "no ErrorMsg"
    same(ledger.told(),
         [("BatchCheckDeviceNames", "OK"), ("QueryBatchRegisterDeviceStatus", "OK")])
    never_created(sdk, [free])


def of_two_applies_for_a_name_the_second_fails(sdk):
    both, first_only, second_only = names(3)
    first, second = check(sdk, [both, first_only]), check(sdk, [both, second_only])
    for apply in (first, second):
        same(poll(sdk, apply)["Status"], "CHECK_SUCCESS")
    register(sdk, first)
    same(poll(sdk, first)["Status"], "CREATE_SUCCESS")

    register(sdk, second)
    data = poll(sdk, second)

    same(data["Status"], "CREATE_FAILED")
    same((data["ValidList"], data["InvalidList"]), ({"Name": [second_only]}, {"Name": [both]}))
    same(len(data["InvalidDetailList"]["invalidDetailList"]), 1)
    same([row["DeviceName"] for row in rows(sdk, second, 1)], [second_only])
    created_once(sdk, [both, first_only], first)
    created_once(sdk, [second_only], second)


def what_is_there_can_be_asked_for_and_deleted(sdk):
    wanted = names(3)
    found = rows(sdk, create(sdk, wanted), 3)
    ledger = Ledger(sdk.simulator)

    answer = sdk.call("QueryDeviceDetail", ProductKey=PRODUCT, DeviceName=wanted[0])
    detail = succeeded(answer)["Data"]
    for key in ("DeviceName", "DeviceSecret", "IotId"):
        same(detail[key], found[0][key])
    answer = sdk.call("BatchQueryDeviceDetail", ProductKey=PRODUCT, DeviceName=wanted)
    details = succeeded(answer)["Data"]["Data"]
    same([detail["DeviceName"] for detail in details], wanted)
    succeeded(sdk.call("DeleteDevice", ProductKey=PRODUCT, DeviceName=wanted[0]))
    answer = sdk.call("QueryDeviceDetail", ProductKey=PRODUCT, DeviceName=wanted[0])
    failed(answer, "iot.device.NotExistedDevice")

    same(ledger.told(), [
        ("QueryDeviceDetail", "OK"),
        ("BatchQueryDeviceDetail", "OK"),
        ("DeleteDevice", "OK"),
        ("QueryDeviceDetail", "iot.device.NotExistedDevice"),
    ])


def an_unknown_apply_is_told(sdk):
    ledger, unknown, code = Ledger(sdk.simulator), 987654321, "iot.device.DeviceApplyIsNotFound"
    calls = [
        ("QueryBatchRegisterDeviceStatus", {"ProductKey": PRODUCT}),
        ("BatchRegisterDeviceWithApplyId", {"ProductKey": PRODUCT}),
        ("QueryPageByApplyId", {"CurrentPage": 1, "PageSize": 10}),
    ]

    for action, parameters in calls:
        failed(sdk.call(action, ApplyId=unknown, **parameters), code)

    same(ledger.told(), [(action, code) for action, _ in calls])
    same(ledger.statuses(), [200, 200, 200])


def a_second_register_is_refused(sdk):
    apply = create(sdk, names(1))
    ledger = Ledger(sdk.simulator)

    answer = sdk.call("BatchRegisterDeviceWithApplyId", ProductKey=PRODUCT, ApplyId=apply)

    failed(answer, "iot.device.IncorrentDeviceApplyInfo")
    same(ledger.only()["apply_id"], apply)


def a_security_token_is_accepted(sdk):
    [name], ledger = names(1), Ledger(sdk.simulator)
    temporary = sdk.with_key("STS.simulator", "simulator-sts-secret", "simulator-token")

    apply = check(temporary, [name])

    same((ledger.only()["code"], ledger.only()["apply_id"]), ("OK", apply))


def a_wrong_key_is_refused(sdk):
    [name], ledger = names(1), Ledger(sdk.simulator)
    stranger = sdk.with_key("stranger", ACCESS_KEY_SECRET)

    refused(lambda: check(stranger, [name]), 404, "InvalidAccessKeyId.NotFound")

    call = ledger.only()
    same((call["action"], call["http_status"]), ("BatchCheckDeviceNames", 404))
    same(call["code"], "InvalidAccessKeyId.NotFound")


def a_wrong_secret_is_refused(sdk):
    [name], ledger = names(1), Ledger(sdk.simulator)
    forgetful = sdk.with_key(secret="wrong-secret")

    refused(lambda: check(forgetful, [name]), 400, sdk.wrong_secret)

    call = ledger.only()
    same((call["code"], call["http_status"]), ("SignatureDoesNotMatch", 400))


def a_wrong_signature_is_refused(sdk):
    [name], ledger = names(1), Ledger(sdk.simulator)

    other = name.upper()  # as long, so that the Content-Length stays true
    with Relay(sdk.simulator, lambda text: text.replace(name.encode(), other.encode())) as relay:
        refusal = refused(
            lambda: check(sdk.at(relay.address), [name]), 400, "SignatureDoesNotMatch"
        )

    assert "server string to sign is:" in refusal.message, refusal.message
    call = ledger.only()
    same((call["code"], call["http_status"]), ("SignatureDoesNotMatch", 400))


def a_replayed_nonce_is_refused(sdk):
    [name], ledger = names(1), Ledger(sdk.simulator)

    with Relay(sdk.simulator, times=2) as relay:
        refused(lambda: check(sdk.at(relay.address), [name]), 400, "SignatureNonceUsed")

    same(ledger.told(),
         [("BatchCheckDeviceNames", "OK"), ("BatchCheckDeviceNames", "SignatureNonceUsed")])
    same(ledger.statuses(), [200, 400])


def too_many_calls_are_throttled(sdk):
    """The simulator is told to allow one such call a second, so both answers show in the end."""
    ledger, products, refusals = Ledger(sdk.simulator), [], []

    def ask():
        try:
            answer = sdk.call("QueryProduct", ProductKey=PRODUCT)
            products.append(succeeded(answer)["Data"]["ProductKey"])
        except Refused as refusal:
            refusals.append((refusal.status, refusal.code))

    until(ask, lambda _: products and refusals)

    same(set(products), {PRODUCT})
    same(set(refusals), {(400, "Throttling.User")})
    same({(call["http_status"], call["code"]) for call in ledger.calls()},
         {(200, "OK"), (400, "Throttling.User")})


ALL = [
    ("check, poll, register, poll, page", the_whole_flow),
    ("names with nicknames", names_with_nicknames),
    ("random names", random_names),
    ("devices are imported", devices_are_imported),
    ("a bad import is refused", a_bad_import_is_refused),
    ("wrong names are listed at once", wrong_names_are_listed_at_once),
    ("wrong nicknames are listed at once", wrong_nicknames_are_listed_at_once),
    ("a name given twice is listed at once", a_name_given_twice_is_listed_at_once),
    ("an existing name fails the check", an_existing_name_fails_the_check),
    ("of two applies for a name the second fails", of_two_applies_for_a_name_the_second_fails),
    ("what is there can be asked for and deleted", what_is_there_can_be_asked_for_and_deleted),
    ("an unknown ApplyId is told", an_unknown_apply_is_told),
    ("a second register is refused", a_second_register_is_refused),
    ("a security token is accepted", a_security_token_is_accepted),
    ("a wrong key is refused", a_wrong_key_is_refused),
    ("a wrong secret is refused", a_wrong_secret_is_refused),
    ("a wrong signature is refused", a_wrong_signature_is_refused),
    ("a replayed nonce is refused", a_replayed_nonce_is_refused),
    ("too many calls are throttled", too_many_calls_are_throttled),
]
