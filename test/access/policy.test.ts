import test from 'ava';
import { type AccessLevel, CheckedGrant } from '../../src/access/grant.js';
import { type AccessRequest, CHALLENGE, checkAccess } from '../../src/access/policy.js';

const exchange = { method: 'GET', headers: { authorization: 'Bearer secret' }, remoteAddress: '192.0.2.1' };
const request = { protocol: 'nx', namespace: 'web', operation: 'read', key: 'nx/1' } as const;

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
      checkAccess(() => level, exchange, { ...request, needs }),
      refusal,
    );
    t.is(await checkAccess(async () => level, exchange, { ...request, needs }), refusal);
  });
}

test('passes the whole request to the policy', (t) => {
  const requests: AccessRequest[] = [];
  const policy = (received: AccessRequest): AccessLevel => {
    requests.push(received);
    return 'none';
  };
  checkAccess(policy, exchange, { ...request, needs: 'read' });
  const certificate = { subject: { CN: 'ci' }, subjectAltNames: [], fingerprint256: 'AA:BB' };
  const malformed = { method: 'PUT', headers: { authorization: 'Basic !' }, clientCertificate: certificate };
  checkAccess(policy, malformed, { protocol: 'bazel', operation: 'upload', needs: 'write' });
  t.deepEqual(
    requests.map((received) => ({ ...received })),
    [
      {
        credentials: { token: 'secret', user: undefined },
        ...request,
        method: 'GET',
        headers: exchange.headers,
        remoteAddress: '192.0.2.1',
        certificate: undefined,
      },
      {
        credentials: undefined,
        protocol: 'bazel',
        namespace: undefined,
        operation: 'upload',
        key: undefined,
        method: 'PUT',
        headers: malformed.headers,
        remoteAddress: undefined,
        certificate,
      },
    ],
  );
});

test('returns the grant of a policy unless it says no more than its level', async (t) => {
  const check = (grant: object) => checkAccess(() => grant as never, exchange, { ...request, needs: 'read' });
  t.is(check({ level: 'read' }), undefined);
  t.is(check({ level: 'write', scope: 'default', reads: ['default'] }), undefined);
  t.is(check({ level: 'none', scope: 'main' }), 401);
  t.deepEqual(check({ level: 'read', scope: 'main' }), new CheckedGrant({ level: 'read', scope: 'main' }));
  const grant = new CheckedGrant({ level: 'write', subject: 'ci' });
  t.is(check(grant), grant);
  t.is(await checkAccess(async () => grant, exchange, { ...request, needs: 'write' }), grant);
});

test('does not call the policy if no access is required', (t) => {
  const policy = () => {
    throw new Error('unexpected call');
  };
  t.is(checkAccess(policy, exchange, { ...request, needs: 'none' }), undefined);
});

test('throws for an invalid level without showing it', async (t) => {
  for (const answer of [
    'secret',
    'WRITE',
    '',
    true,
    1,
    null,
    undefined,
    ['write'],
    { level: 'secret' },
    { scope: 'main' },
  ]) {
    const policy = () => answer as never;
    const expected = {
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message: /^access: .*expected the policy.* received (?!.*secret)/,
    };
    await t.throwsAsync(async () => checkAccess(policy, exchange, { ...request, needs: 'read' }), expected);
    await t.throwsAsync(
      async () => checkAccess(async () => policy(), exchange, { ...request, needs: 'read' }),
      expected,
    );
  }
});

test('throws the error of the policy', async (t) => {
  const failure = new Error('the user directory is unreachable');
  const fails = (): AccessLevel => {
    throw failure;
  };
  t.is(
    t.throws(() => checkAccess(fails, exchange, { ...request, needs: 'read' })),
    failure,
  );
  t.is(
    await t.throwsAsync(async () => checkAccess(async () => fails(), exchange, { ...request, needs: 'read' })),
    failure,
  );
});

test('the challenge contains both schemes and the charset of Basic', (t) => {
  t.regex(CHALLENGE, /\bBasic realm="[^"]+", charset="UTF-8"/);
  t.regex(CHALLENGE, /\bBearer realm="[^"]+"/);
});
