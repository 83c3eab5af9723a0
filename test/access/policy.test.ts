import test from 'ava';
import { type AccessLevel, CheckedGrant } from '../../src/access/grant.js';
import { type AccessPolicy, type AccessRequest, CHALLENGE, checkAccess } from '../../src/access/policy.js';
import { staticTokens } from '../../src/access/static-tokens.js';

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

test('a grant that a policy passes on cannot be changed for other clients', (t) => {
  const policy = staticTokens([{ token: 'pr-0123456789abcdef', level: 'write', scope: 'pr', reads: ['main'] }]);
  const wrapper: AccessPolicy = async (request) => Object.assign(await policy(request), { scope: 'pr/7' });
  const own = { ...exchange, headers: { authorization: 'Bearer pr-0123456789abcdef' } };
  const check = (each: AccessPolicy) => checkAccess(each, own, { ...request, needs: 'write' });
  const before = check(policy);
  t.true(before instanceof CheckedGrant && before.scope === 'pr');
  return t.throwsAsync(async () => check(wrapper), { instanceOf: TypeError }).then(() => t.is(check(policy), before));
});

test('a grant has the properties at the time of its return', (t) => {
  const reads = ['main'];
  const checked = new CheckedGrant({ level: 'read', scope: 'pr', reads });
  reads[0] = 'release';
  t.deepEqual([checked.reads, checked.scopes], [['main'], ['main', 'pr']]);
  t.throws(() => (checked.scopes as string[]).push('release'), { instanceOf: TypeError });
});

test('a subject is printable, and is not cut in the middle of a character', (t) => {
  for (const subject of ['', 'a\r\nb', '\u001b[2J', '\ud83d', 1]) {
    t.throws(() => new CheckedGrant({ level: 'read', subject: subject as string }), {
      code: 'ERR_HOTBLOB_INVALID_OPTION',
      message: /subject: expected the policy to return well-formed text/,
    });
  }
  const { subject } = new CheckedGrant({ level: 'read', subject: `x${'\u{1f600}'.repeat(200)}` });
  t.is(subject, `x${'\u{1f600}'.repeat(127)}`);
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
