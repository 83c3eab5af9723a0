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
  test(`who may ${level} and needs ${needs} gets ${refusal ?? 'through'}, at once or from a promise`, async (t) => {
    t.is(
      checkAccess(() => level, { ...request, needs }),
      refusal,
    );
    t.is(await checkAccess(async () => level, { ...request, needs }), refusal);
  });
}

test('a policy gets the credentials, the protocol and the namespace', (t) => {
  const seen: AccessRequest[] = [];
  const policy = (asked: AccessRequest): AccessLevel => {
    seen.push(asked);
    return 'none';
  };
  checkAccess(policy, { ...request, needs: 'read' });
  checkAccess(policy, { authorization: 'Basic !', protocol: 'bazel', needs: 'write' });
  t.deepEqual(seen, [
    { credentials: { token: 'secret', user: undefined }, protocol: 'nx', namespace: 'web' },
    { credentials: undefined, protocol: 'bazel', namespace: undefined },
  ]);
});

test('what needs nothing asks nobody', (t) => {
  const policy = () => {
    throw new Error('asked');
  };
  t.is(checkAccess(policy, { ...request, needs: 'none' }), undefined);
});

test('what is no level lets nobody in, and is not shown', async (t) => {
  for (const answer of ['secret', 'WRITE', '', true, 1, null, undefined, ['write'], { level: 'write' }]) {
    const policy = () => answer as never;
    const refused = {
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message: /^access: expected the policy.* found (?!.*secret)/,
    };
    await t.throwsAsync(async () => checkAccess(policy, { ...request, needs: 'read' }), refused);
    await t.throwsAsync(async () => checkAccess(async () => policy(), { ...request, needs: 'read' }), refused);
  }
});

test('a policy that fails lets nobody in', async (t) => {
  const failure = new Error('the directory of users does not answer');
  const fails = (): AccessLevel => {
    throw failure;
  };
  t.is(
    t.throws(() => checkAccess(fails, { ...request, needs: 'read' })),
    failure,
  );
  t.is(await t.throwsAsync(async () => checkAccess(async () => fails(), { ...request, needs: 'read' })), failure);
});

test('the challenge names both schemes, and the encoding of Basic', (t) => {
  t.regex(CHALLENGE, /\bBasic realm="[^"]+", charset="UTF-8"/);
  t.regex(CHALLENGE, /\bBearer realm="[^"]+"/);
});
