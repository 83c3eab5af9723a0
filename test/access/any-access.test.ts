import test from 'ava';
import { anyAccess } from '../../src/access/any-access.js';
import type { AccessDecision, AccessPolicy } from '../../src/access/policy.js';
import { staticTokens } from '../../src/access/static-tokens.js';
import { requestWith } from './oidc/fixture.js';

/** Returns a policy that knows one token, and the number of its calls. */
function policyFor(token: string, decision: AccessDecision, isAsync = false): AccessPolicy & { calls: number } {
  const policy = Object.assign(
    ({ credentials }: Parameters<AccessPolicy>[0]) => {
      policy.calls++;
      const result = credentials?.token === token ? decision : 'none';
      return isAsync ? Promise.resolve(result) : result;
    },
    { calls: 0 },
  );
  return policy;
}

const UPLOAD = { operation: 'upload' } as const;
const READ = { operation: 'read' } as const;

for (const isAsync of [false, true]) {
  const kind = isAsync ? 'asynchronous' : 'synchronous';
  test(`the first of ${kind} policies that grants access decides`, async (t) => {
    const a = policyFor('a', 'read', isAsync);
    const b = policyFor('b', { level: 'write', scope: 'b' }, isAsync);
    const policy = anyAccess([a, b]);
    t.is(await policy(requestWith('a')), 'read');
    t.is(b.calls, 0);
    t.deepEqual(await policy(requestWith('b')), { level: 'write', scope: 'b' });
    t.is(await policy(requestWith('c')), 'none');
    t.is(await policy(requestWith(undefined)), 'none');
    t.is(a.calls, 4);
  });

  test(`anonymous is the minimum of ${kind} policies`, async (t) => {
    const policies = [policyFor('a', { level: 'read', scope: 'a' }, isAsync), policyFor('b', 'write', isAsync)];
    const readable = anyAccess(policies, { anonymous: 'read' });
    t.is(await readable(requestWith('c', READ)), 'read');
    t.is(await readable(requestWith(undefined, READ)), 'read');
    t.is(await readable(requestWith('b', UPLOAD)), 'write');
    t.deepEqual(await readable(requestWith('a', UPLOAD)), { level: 'read', scope: 'a' });
    const writable = anyAccess(policies, { anonymous: 'write' });
    t.is(await writable(requestWith('c', UPLOAD)), 'write');
    t.deepEqual(await writable(requestWith('a', READ)), { level: 'read', scope: 'a' });
    // Like every client, it may write to the default scope, but not to the scope that it may read.
    t.is(await writable(requestWith('a', UPLOAD)), 'write');
    t.is(await writable(requestWith('a', { operation: 'delete' })), 'write');
  });
}

test("anonymous is not valid for the operators' pages, because a policy may know scopes", async (t) => {
  const policy = anyAccess([policyFor('a', 'read'), policyFor('b', 'none', true)], { anonymous: 'read' });
  const pages = { protocol: 'hotblob' };
  t.is(await policy(requestWith('a', pages)), 'read');
  t.is(await policy(requestWith('b', pages)), 'none');
  t.is(await policy(requestWith('unknown', pages)), 'none');
  t.is(await policy(requestWith('unknown')), 'read');
});

test('a client can purge only if its grant says so, because a policy may know scopes', async (t) => {
  const pages = { protocol: 'hotblob', operation: 'delete' } as const;
  for (const isAsync of [false, true]) {
    const policy = anyAccess([
      policyFor('plain', 'write', isAsync),
      policyFor('build', { level: 'write', subject: 'ci' }, isAsync),
      policyFor('ops', { level: 'write', overwrite: true }, isAsync),
      policyFor('reader', { level: 'read', subject: 'dev' }, isAsync),
    ]);
    t.deepEqual(await policy(requestWith('plain', pages)), { level: 'write', overwrite: false });
    t.deepEqual(await policy(requestWith('build', pages)), { level: 'write', overwrite: false, subject: 'ci' });
    t.deepEqual(await policy(requestWith('ops', pages)), { level: 'write', overwrite: true });
    t.deepEqual(await policy(requestWith('reader', pages)), { level: 'read', subject: 'dev' });
    t.is(await policy(requestWith('plain', UPLOAD)), 'write');
  }
});

test('with tokens and another policy, only a token that names the pages may purge', async (t) => {
  const tokens = staticTokens([
    { token: 'dev-55c1a8e07b3f9d24', level: 'write' },
    { token: 'ops-55c1a8e07b3f9d24', level: 'write', protocols: ['hotblob'] },
  ]);
  const access = anyAccess([tokens, policyFor('ci', { level: 'write', scope: 'main' })]);
  const pages = { protocol: 'hotblob', operation: 'delete' } as const;
  t.like(await access(requestWith('dev-55c1a8e07b3f9d24', pages)), { level: 'write', overwrite: false });
  t.like(await access(requestWith('ops-55c1a8e07b3f9d24', pages)), { level: 'write', overwrite: true });
});

test('a grant of the level none does not decide', (t) => {
  const policy = anyAccess([policyFor('a', { level: 'none', scope: 'a' }), policyFor('a', 'read')]);
  t.is(policy(requestWith('a')), 'read');
});

test('synchronous policies are decided synchronously, up to the first asynchronous one', (t) => {
  const policy = anyAccess([policyFor('a', 'read'), policyFor('b', 'read', true)]);
  t.is(policy(requestWith('a')), 'read');
  t.true(policy(requestWith('b')) instanceof Promise);
});

test('the error of a policy is the error of the combination', async (t) => {
  const error = new Error('broken');
  const throws = anyAccess([
    () => {
      throw error;
    },
    policyFor('a', 'write'),
  ]);
  t.is(
    t.throws(() => throws(requestWith('a'))),
    error,
  );
  const rejects = anyAccess([() => Promise.reject(error), policyFor('a', 'write')]);
  t.is(await t.throwsAsync(async () => rejects(requestWith('a'))), error);
});

test('rejects invalid arguments', (t) => {
  t.throws(() => anyAccess([{}] as unknown as AccessPolicy[]), {
    message: 'policies: expected an array of access policies, received an array',
  });
  t.throws(() => anyAccess([], { anonymous: 'all' as 'read' }), {
    message: "anonymous: expected 'none', 'read', 'write', received a string (not shown)",
  });
});
