import test from 'ava';
import { oidcAccess } from '../../../src/access/oidc/oidc-access.js';
import { Issuer } from '../../helpers/issuer.js';

const GITHUB = 'https://token.actions.githubusercontent.com';
const ISSUER = { issuer: 'https://id.example.com', audience: 'hotblob' };
const RULE = { when: { team: 'web' }, level: 'write' };
const CERTIFICATE_RULE = { certificate: { 'subject.CN': 'ci' }, level: 'read' };

/** Returns options with one rule that differs from a valid one. */
function withRule(rule: object): object {
  return { issuers: [ISSUER], rules: [{ ...RULE, ...rule }] };
}

function withIssuer(issuer: object): object {
  return { issuers: [{ ...ISSUER, ...issuer }], rules: [RULE] };
}

const INVALID: readonly (readonly [options: unknown, message: RegExp | string])[] = [
  [undefined, 'options: expected an object, received undefined'],
  [[], 'options: expected an object, received []'],
  [{}, 'options: expected the property rules, which is missing'],
  [{ rules: [] }, 'rules: expected an array that is not empty, received []'],
  [
    { issuer: [ISSUER], rules: [RULE] },
    /^issuer: unknown option \(did you mean issuers\?\); expected one of issuers, rules, protocols, cacheMs, /,
  ],
  [{ rules: [RULE] }, 'rules[0].when: expected issuers, because claims come from tokens; add issuers'],
  [{ issuers: {}, rules: [RULE] }, 'issuers: expected an array that is not empty, received {}'],
  [{ issuers: ['x'], rules: [RULE] }, "issuers[0]: expected an object, received 'x'"],
  [withIssuer({ audience: undefined }), 'issuers[0]: expected the property audience, which is missing'],
  [withIssuer({ audience: '' }), "issuers[0].audience: expected a string that is not empty, received ''"],
  [withIssuer({ audience: ['a', 1] }), 'issuers[0].audience[1]: expected a string that is not empty, received 1'],
  [withIssuer({ audience: [] }), 'issuers[0].audience: expected an array that is not empty, received []'],
  [
    withIssuer({ issuer: 'id.example.com' }),
    /^issuers\[0\]\.issuer: expected an https: URL such as .*, received 'id\./,
  ],
  [withIssuer({ issuer: 'http://id.example.com' }), /^issuers\[0\]\.issuer: expected an https: URL/],
  [withIssuer({ issuer: 'https://user@id.example.com' }), /^issuers\[0\]\.issuer: expected an https: URL/],
  [withIssuer({ jwksUri: 'ftp://x' }), /^issuers\[0\]\.jwksUri: expected an https: URL/],
  [
    withIssuer({ minLifetimeMs: 86_400_001 }),
    /^issuers\[0\]\.minLifetimeMs: expected a whole number .* one day, received 86400001/,
  ],
  [withIssuer({ minLifetimeMs: -1 }), /^issuers\[0\]\.minLifetimeMs/],
  [
    withIssuer({ keys: [{ kty: 'oct', k: 'c2VjcmV0' }] }),
    /^issuers\[0\]\.keys\[0\]: .*received one with the secret member k/,
  ],
  [
    withIssuer({ keys: [{ kty: 'EC', crv: 'P-256', d: 'SECRET' }] }),
    /^issuers\[0\]\.keys\[0\]: .* the secret member d$/,
  ],
  [withIssuer({ keys: [{ kty: 'EC', crv: 'secp256k1' }] }), /received a key of type EC secp256k1$/],
  [withIssuer({ keys: [{ kty: 'RSA', alg: 'RSA-OAEP' }] }), /received a key of type RSA$/],
  [withIssuer({ keys: [{ kty: 'RSA', use: 'enc' }] }), /received a key for use enc$/],
  [{ issuers: [ISSUER, ISSUER], rules: [RULE] }, /^issuers\[1\]\.issuer: expected each issuer once/],
  [
    { issuers: [ISSUER, { ...ISSUER, issuer: 'https://b.example.com' }], rules: [RULE] },
    'rules[0]: expected an issuer, because there are several; add one of https://id.example.com, https://b.example.com',
  ],
  [withRule({ issuer: 'https://x' }), "rules[0].issuer: expected one of https://id.example.com, received 'https://x'"],
  [withRule({ level: undefined }), 'rules[0]: expected the property level, which is missing'],
  [withRule({ level: 'admin' }), "rules[0].level: expected 'none', 'read', 'write', received 'admin'"],
  [
    withRule({ lvl: 'read' }),
    /^rules\[0\]\.lvl: unknown option \(did you mean level\?\); expected one of issuer, when, /,
  ],
  [withRule({ when: undefined }), /^rules\[0\]: expected when or certificate, because a rule without conditions/],
  [withRule({ when: {} }), 'rules[0].when: expected an object with at least one pattern, received {}'],
  [withRule({ when: { '': 'x' } }), 'rules[0].when: expected names of claims, received an empty name'],
  [withRule({ when: { team: 7 } }), 'rules[0].when.team: expected a pattern, which is a string, received 7'],
  [withRule({ when: { 'a.b/c': [] } }), "rules[0].when['a.b/c']: expected an array that is not empty, received []"],
  [
    withRule({ protocols: ['nx', 'turbo'] }),
    /^rules\[0\]\.protocols: name 2 is not a protocol \(did you mean turborepo\?\)/,
  ],
  [withRule({ protocols: [] }), 'rules[0].protocols: expected an array that is not empty, received []'],
  [withRule({ namespaces: [''] }), "rules[0].namespaces[0]: expected a string that is not empty, received ''"],
  [withRule({ scope: 'a b' }), /^rules\[0\]\.scope: expected the name of a scope: .*, received 'a b'/],
  [withRule({ scope: 7 }), 'rules[0].scope: expected the name of a scope, received 7'],
  [withRule({ scope: 'pr/{ref' }), "rules[0].scope: expected each placeholder as {claim}, received 'pr/{ref'"],
  [withRule({ reads: ['main', '../x'] }), /^rules\[0\]\.reads\[1\]: expected the name of a scope/],
  [withRule({ reads: [...'abcdefgh'] }), 'rules[0].reads: expected at most 8 scopes with the own scope, received more'],
  [withRule({ overwrite: 'no' }), "rules[0].overwrite: expected true or false, received 'no'"],
  [withRule({ level: 'none', scope: 'x' }), /^rules\[0\]\.scope: expected no such property beside the level 'none'/],
  [
    withRule({ scope: 'x/{certificate.subject.CN}' }),
    /^rules\[0\]\.scope: \{certificate\.subject\.CN\}: expected the rule to have certificate/,
  ],
  [
    withRule({ scope: 'x/{certificate.issuer}' }),
    /^rules\[0\]\.scope: \{certificate\.issuer\}: unknown field; expected subject\.NAME/,
  ],
  [withRule({ certificate: { CN: 'x' } }), /^rules\[0\]\.certificate\.CN: unknown field; expected subject\.NAME/],
  [
    withRule({ certificate: { fingerprint256: 'ab:cd' } }),
    /^rules\[0\]\.certificate\.fingerprint256: expected a SHA-256 digest/,
  ],
  [
    { rules: [{ ...CERTIFICATE_RULE, issuer: 'https://x' }] },
    /^rules\[0\]\.issuer: expected no issuer in a rule without when/,
  ],
  [
    { rules: [{ ...CERTIFICATE_RULE, scope: '{sub}' }] },
    'rules[0].scope: {sub}: expected the rule to have when; add it',
  ],
  [
    { ...withRule({}), cacheMs: 1000 },
    'cacheMs: expected a whole number of milliseconds, 60000 or more, received 1000',
  ],
  [{ ...withRule({}), maxStaleMs: -1 }, /^maxStaleMs: expected/],
  [{ ...withRule({}), timeoutMs: 0 }, /^timeoutMs: expected/],
  [{ ...withRule({}), clockToleranceMs: 300_001 }, /^clockToleranceMs: expected/],
  [{ ...withRule({}), onWarning: true }, 'onWarning: expected a function, received true'],
  [{ ...withRule({}), protocols: 'x' }, /^protocols: expected an array of names/],
];

for (const [index, [options, message]] of INVALID.entries()) {
  test(`rejects invalid options ${index + 1}: ${String(message)}`, (t) => {
    const invalid = options as Parameters<typeof oidcAccess>[0]; // as from JavaScript
    t.throws(() => oidcAccess(invalid), { code: 'ERR_HOTBLOB_INVALID_OPTION', message });
  });
}

test('accepts all options', async (t) => {
  const issuer = await Issuer.start(t);
  const policy = oidcAccess({
    issuers: [
      { issuer: 'https://id.example.com/tenant', audience: ['a', 'b'], jwksUri: 'https://keys.example.com/jwks' },
      { issuer: 'http://[::1]:8080', audience: 'a', keys: issuer.jwks, minLifetimeMs: 0 },
    ],
    rules: [
      {
        issuer: 'http://[::1]:8080',
        when: { 'a.b/c': ['x', '*'], empty: '' },
        certificate: { 'subject.CN': 'ci', san: ['DNS:*'], fingerprint256: Array(32).fill('0F').join(':') },
        level: 'write',
        protocols: ['nx', 'mine', 'hotblob'],
        namespaces: ['a'],
        scope: 'x/{sub}/{certificate.subject.CN}',
        reads: ['main', 'y/{sub}'],
        overwrite: false,
      },
    ],
    protocols: ['mine'],
    cacheMs: 60_000,
    maxStaleMs: 0,
    timeoutMs: 1,
    clockToleranceMs: 0,
    onWarning: () => {},
  });
  t.is(typeof policy, 'function');
});

const OWNERS: readonly (readonly [
  issuer: string,
  when: Readonly<Record<string, string | string[]>>,
  isAccepted: boolean,
])[] = [
  [GITHUB, { ref: 'refs/heads/main' }, false],
  [GITHUB, { repository: '*' }, false],
  [GITHUB, { repository: '*/web' }, false],
  [GITHUB, { repository: 'acme*/web' }, false],
  [GITHUB, { repository: ['acme/*', '**'] }, false],
  [GITHUB, { repository_owner: 'acme*' }, false],
  [GITHUB, { sub: '**:ref:refs/heads/main' }, false],
  [GITHUB, { job_workflow_ref: 'acme/ci/.github/workflows/build.yml@refs/heads/main' }, false],
  [GITHUB, { repository: 'acme/*' }, true],
  [GITHUB, { repository: ['acme/*', 'other/web'] }, true],
  [GITHUB, { repository_owner: 'acme', ref: '*' }, true],
  [GITHUB, { repository_owner_id: '65' }, true],
  [GITHUB, { sub: 'repo:acme/**' }, true],
  ['https://gitlab.com', { ref: 'main' }, false],
  ['https://gitlab.com', { project_path: 'acme/**' }, true],
  ['https://gitlab.com', { namespace_path: 'acme' }, true],
  ['https://agent.buildkite.com', { build_branch: 'main' }, false],
  ['https://agent.buildkite.com', { organization_slug: 'acme' }, true],
  ['https://agent.buildkite.com', { sub: 'organization:acme:**' }, true],
  ['https://agent.buildkite.com', { sub: 'organization:acme*' }, false],
  ['https://oidc.circleci.com/org/0b1c', { 'oidc.circleci.com/vcs-ref': 'refs/heads/main' }, true],
];

for (const [issuer, when, isAccepted] of OWNERS) {
  test(`${isAccepted ? 'accepts' : 'rejects'} ${JSON.stringify(when)} for ${issuer}`, (t) => {
    const create = () => oidcAccess({ issuers: [{ issuer, audience: 'hotblob' }], rules: [{ when, level: 'write' }] });
    if (isAccepted) t.notThrows(create);
    else
      t.throws(create, {
        message: /^rules\[0\]\.when: expected a claim that names the owner, because .*; add one of /,
      });
  });
}

test('a rule of the level none needs no owner', (t) => {
  const rules = [
    { when: { event_name: 'issue_comment' }, level: 'none' },
    { when: { repository: 'acme/*' }, level: 'read' },
  ] as const;
  t.notThrows(() => oidcAccess({ issuers: [{ issuer: GITHUB, audience: 'hotblob' }], rules }));
});

test('rejects placeholders that could result in the scope of another rule', (t) => {
  const create = (scope: string, other: object) => () =>
    oidcAccess({
      issuers: [ISSUER],
      rules: [
        { ...RULE, level: 'write', ...other },
        { ...RULE, level: 'write', scope },
      ],
    });
  const message =
    "rules[1].scope: expected a scope that cannot become 'main', which another rule uses, received '{team}'; begin it with a segment of its own, such as 'pr/'";
  t.throws(create('{team}', { scope: 'main' }), { message });
  t.throws(create('m{team}', { reads: ['main'] }), { message: /cannot become 'main'/ });
  t.throws(create('{team}', {}), { message: /cannot become 'default'/ });
  // Clients without a scope use the scope default, even if no rule does.
  t.throws(create('{team}', { scope: 'x/y' }), {
    message: /cannot become 'default', which clients without a scope use/,
  });
  t.throws(create('{team}/{ref}', { scope: '{team}/main' }), { message: /cannot become '\{team\}\/\{ref\}'/ });
  t.throws(create('{team}/{ref}', { reads: ['{team}/main'] }), { message: /cannot become '\{team\}\/main'/ });
  t.notThrows(create('pr/{team}', { scope: 'main' }));
  t.notThrows(create('pr/{team}', { scope: 'pr/{team}' }), 'the same text is intended');
  t.notThrows(create('pr/{team}/{ref}', { scope: 'main/{team}' }));
});
