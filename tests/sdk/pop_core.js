// npm @alicloud/pop-core, the RPC v1 signer beneath Alibaba's older Node SDKs, against the simulator
// at $SIMULATOR. By POST it sends all parameters in the body, the signature included; by GET all of
// them in the query.
'use strict';

const assert = require('node:assert/strict');
const Core = require('@alicloud/pop-core');

// Set in src/simulator/mod.rs.
const accessKeyId = 'simulator';
const accessKeySecret = 'simulator-secret';
const ProductKey = 'a1Simulator';

const endpoint = `http://${process.env.SIMULATOR}`;
const apiVersion = '2018-01-20';
// In milliseconds. Nothing here takes long; this only ends what would never end, and a machine under
// load may take longer than the SDK waits by itself.
const patience = 120_000;

const opts = { timeout: patience };

const core = new Core({ accessKeyId, accessKeySecret, endpoint, apiVersion, opts });
const post = (action, parameters, by = core) => by.request(action, parameters, { method: 'POST' });
const get = (action, parameters) => core.request(action, parameters, { method: 'GET' });

// The calls in the ledger after this one, those that repeat the one before left out.
async function told(after = 0) {
  const answer = await fetch(`${endpoint}/_simulator/ledger?after=${after}`);
  const calls = (await answer.text()).split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const short = calls.map((call) => `${call.action} ${call.http_status} ${call.code}`);
  return { last: calls.at(-1)?.seq ?? after, calls: short.filter((one, at) => one !== short[at - 1]) };
}

async function poll(ApplyId) {
  const end = Date.now() + patience;
  for (;;) {
    const answer = await get('QueryBatchRegisterDeviceStatus', { ProductKey, ApplyId });
    assert.equal(answer.Success, true);
    if (!['CHECK', 'CREATE'].includes(answer.Data.Status)) return answer.Data.Status;
    assert.ok(Date.now() < end, `still ${answer.Data.Status}`);
    await new Promise((resume) => setTimeout(resume, 50));
  }
}

function names(count) {
  const own = Math.random().toString(36).slice(2, 10);
  return Array.from({ length: count }, (_, at) => `pop-${own}-${at + 1}`);
}

async function theWholeFlow() {
  const wanted = names(12);
  const { last } = await told();

  const checked = await post('BatchCheckDeviceNames', { ProductKey, DeviceName: wanted });
  const { ApplyId } = checked.Data;
  assert.equal(await poll(ApplyId), 'CHECK_SUCCESS');
  await post('BatchRegisterDeviceWithApplyId', { ProductKey, ApplyId });
  assert.equal(await poll(ApplyId), 'CREATE_SUCCESS');
  const page = await post('QueryPageByApplyId', { ApplyId, CurrentPage: 1, PageSize: 50 });

  const rows = page.ApplyDeviceList.ApplyDeviceInfo;
  assert.deepEqual(rows.map((row) => row.DeviceName), wanted);
  assert.ok(rows.every((row) => row.DeviceSecret.length === 32));
  assert.deepEqual((await told(last)).calls, [
    'BatchCheckDeviceNames 200 OK',
    'QueryBatchRegisterDeviceStatus 200 OK',
    'BatchRegisterDeviceWithApplyId 200 OK',
    'QueryBatchRegisterDeviceStatus 200 OK',
    'QueryPageByApplyId 200 OK',
  ]);
}

async function aWrongNameIsRefused() {
  const { last } = await told();
  // It takes any Code for an error, of the gateway or of the service.
  const code = 'iot.device.InvalidDeviceNameExisted';
  const refused = post('BatchCheckDeviceNames', { ProductKey, DeviceName: ["it's (no) name!"] });

  await assert.rejects(refused, (error) => {
    assert.equal(error.code, code);
    assert.deepEqual(error.data.Data.InvalidDeviceNameList.InvalidDeviceName, ["it's (no) name!"]);
    return true;
  });
  assert.deepEqual((await told(last)).calls, [`BatchCheckDeviceNames 200 ${code}`]);
}

async function aWrongSecretIsRefused() {
  const { last } = await told();
  const forgetful = new Core({ accessKeyId, accessKeySecret: 'wrong', endpoint, apiVersion, opts });
  const refused = post('BatchCheckDeviceNames', { ProductKey, DeviceName: names(1) }, forgetful);

  await assert.rejects(refused, { code: 'SignatureDoesNotMatch' });
  assert.deepEqual((await told(last)).calls, ['BatchCheckDeviceNames 400 SignatureDoesNotMatch']);
}

async function main() {
  const scenarios = {
    'check, poll, register, poll, page': theWholeFlow,
    'a wrong name is refused': aWrongNameIsRefused,
    'a wrong secret is refused': aWrongSecretIsRefused,
  };
  for (const [title, scenario] of Object.entries(scenarios)) {
    try {
      await scenario();
      console.log(`ok      pop-core: ${title}`);
    } catch (error) {
      process.exitCode = 1;
      console.log(`FAILED  pop-core: ${title}: ${error.message.replaceAll('\n', ' ').slice(0, 1000)}`);
      console.log(error.stack);
    }
  }
}

main();
