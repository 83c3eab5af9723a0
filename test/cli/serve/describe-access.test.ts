import test from 'ava';
import { describeAccess } from '../../../src/cli/serve/describe-access.js';

const CASES: readonly [string, Parameters<typeof describeAccess>[0], RegExp][] = [
  [
    'a loopback address without tokens',
    { host: '127.0.0.1', writable: true, access: undefined },
    /^access: read and write for every program on this machine \(.*\), and for every client of a proxy on it$/,
  ],
  [
    'a loopback address behind a proxy',
    { host: 'localhost', writable: true, access: undefined, allowedHosts: ['cache.example.com'] },
    /a proxy on it \(--allow-host\)$/,
  ],
  [
    'another address without tokens',
    { host: '0.0.0.0', writable: false, access: undefined },
    /^access: read-only for every client \(no --tokens; .*\); to accept uploads, use --tokens FILE, --oidc FILE or --writable$/,
  ],
  [
    'another address with --writable',
    { host: '0.0.0.0', writable: true, access: undefined },
    /^access: read and write for every client \(--writable, no --tokens or --oidc\)$/,
  ],
  [
    'tokens',
    { host: '0.0.0.0', writable: true, access: { tokens: 'tokens', oidc: undefined, anonymous: undefined } },
    /^access: by the tokens in tokens; no access without a token \(--anonymous none\)$/,
  ],
  [
    'tokens and anonymous readers',
    { host: '::', writable: true, access: { tokens: 'tokens', oidc: undefined, anonymous: 'read' } },
    /; read access without a token \(--anonymous read\)$/,
  ],
];

for (const [title, options, expected] of CASES) {
  test(`says who may read and write: ${title}`, (t) => {
    t.regex(describeAccess(options), expected);
  });
}

test('says which issuers and certificates the rules are about', (t) => {
  const access = { tokens: 'tokens', oidc: 'oidc.json', anonymous: undefined };
  const options = { host: '::', writable: true, access };
  const oidc = { issuers: ['https://a', 'https://b'], usesCertificates: false };
  t.is(
    describeAccess(options, { oidc }),
    'access: by the tokens in tokens and the rules in oidc.json for https://a, https://b; no access without a valid token (--anonymous none)',
  );
  const machines = { issuers: [], usesCertificates: true };
  t.is(
    describeAccess({ ...options, access: { ...access, tokens: undefined } }, { oidc: machines }),
    'access: by the rules in oidc.json for client certificates; no access without a valid token or certificate (--anonymous none)',
  );
  t.is(
    describeAccess({ ...options, access: { ...access } }, { oidc, readOnlyReason: 'disk full' }),
    'access: read-only for clients with access by tokens and oidc.json: disk full',
  );
});

test('says for whom and why a store is read-only', (t) => {
  const reason = 'the file system is full';
  const tokens = (anonymous?: 'read') => ({ access: { tokens: 'tokens', oidc: undefined, anonymous } });
  const cases: [Partial<Parameters<typeof describeAccess>[0]>, string][] = [
    [{}, 'every program on this machine'],
    [{ host: '0.0.0.0' }, 'every client'],
    [tokens(), 'clients with access by tokens'],
    [tokens('read'), 'every client'],
  ];
  for (const [options, readers] of cases) {
    const all = { host: '127.0.0.1', writable: true, access: undefined, ...options };
    t.is(describeAccess(all, { readOnlyReason: reason }), `access: read-only for ${readers}: ${reason}`);
  }
});
