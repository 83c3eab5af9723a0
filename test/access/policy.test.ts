import test from 'ava';
import { type AccessLevel, type AccessRequest, CHALLENGE, checkAccess } from '../../src/access/policy.js';

const request = { authorization: 'Bearer secret', protocol: 'nx', namespace: 'web' } as const;

for (const [level, needs, refusal] of [
  ['none', 'none', undefined],
  ['none', 'read', 401],
  ['none', 'write', 401],
  ['read', 'none', undefined],
  ['read', 'read', undefined],
  ['read', 'write', 403],
  ['write', 'none', undefined],
  ['write', 'read', undefined],
  ['write', 'write', undefined],
] as const) {
  test(`level ${level} is ${refusal === undefined ? 'enough' : `refused with ${refusal}`} for ${needs}, sync and async`, async (t) => {
    t.is(
      checkAccess(() => level, { ...request, needs }),
      refusal,
    );
    t.is(await checkAccess(async () => level, { ...request, needs }), refusal);
  });
}

test('passes the credentials, the protocol and the namespace to the policy', (t) => {
  const requests: AccessRequest[] = [];
  const policy = (received: AccessRequest): AccessLevel => {
    requests.push(received);
    return 'none';
  };
  checkAccess(policy, { ...request, needs: 'read' });
  checkAccess(policy, { authorization: 'Basic !', protocol: 'bazel', needs: 'write' });
  t.deepEqual(requests, [
    { credentials: { token: 'secret', user: undefined }, protocol: 'nx', namespace: 'web' },
    { credentials: undefined, protocol: 'bazel', namespace: undefined },
  ]);
});

test('does not call the policy if no access is required', (t) => {
  const policy = () => {
    throw new Error('unexpected call');
  };
  t.is(checkAccess(policy, { ...request, needs: 'none' }), undefined);
});

test('throws for an invalid level without showing it', async (t) => {
  for (const answer of ['secret', 'WRITE', '', true, 1, null, undefined, ['write'], { level: 'write' }]) {
    const policy = () => answer as never;
    const expected = {
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message: /^access: expected the policy.* received (?!.*secret)/,
    };
    await t.throwsAsync(async () => checkAccess(policy, { ...request, needs: 'read' }), expected);
    await t.throwsAsync(async () => checkAccess(async () => policy(), { ...request, needs: 'read' }), expected);
  }
});

test('throws the error of the policy', async (t) => {
  const failure = new Error('the user directory is unreachable');
  const fails = (): AccessLevel => {
    throw failure;
  };
  t.is(
    t.throws(() => checkAccess(fails, { ...request, needs: 'read' })),
    failure,
  );
  t.is(await t.throwsAsync(async () => checkAccess(async () => fails(), { ...request, needs: 'read' })), failure);
});

test('the challenge contains both schemes and the charset of Basic', (t) => {
  t.regex(CHALLENGE, /\bBasic realm="[^"]+", charset="UTF-8"/);
  t.regex(CHALLENGE, /\bBearer realm="[^"]+"/);
});
