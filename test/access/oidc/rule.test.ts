import test from 'ava';
import { oidcAccess } from '../../../src/access/oidc/oidc-access.js';
import type { OidcRule } from '../../../src/access/oidc/options.js';
import type { AccessRequest } from '../../../src/access/policy.js';
import { certificateOf, openSite, requestWith } from './fixture.js';

const RULES: readonly OidcRule[] = [
  { when: { banned: 'true' }, level: 'none' },
  { when: { repository: 'acme/*', ref: 'refs/heads/main' }, level: 'write', scope: 'main' },
  {
    when: { repository: 'acme/*' },
    level: 'write',
    protocols: ['nx', 'turborepo'],
    scope: 'pr/{ref}',
    reads: ['main'],
  },
  { when: { groups: ['admins', 'ops-*'] }, level: 'read', namespaces: ['web'] },
];

const CASES: readonly {
  readonly title: string;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly request?: Partial<AccessRequest>;
  readonly expected: object | 'none';
}[] = [
  {
    title: 'the first rule that matches decides',
    claims: { repository: 'acme/web', ref: 'refs/heads/main' },
    expected: { level: 'write', scope: 'main', scopes: ['main'] },
  },
  {
    title: 'a rule that does not match is skipped',
    claims: { repository: 'acme/web', ref: 'refs/pull/7/merge' },
    expected: { level: 'write', scope: 'pr/refs%2Fpull%2F7%2Fmerge', scopes: ['main', 'pr/refs%2Fpull%2F7%2Fmerge'] },
  },
  {
    title: "the level 'none' refuses what later rules grant",
    claims: { repository: 'acme/web', ref: 'refs/heads/main', banned: true },
    expected: { level: 'none' },
  },
  {
    title: 'a placeholder without its claim: the rule does not match',
    claims: { repository: 'acme/web' },
    expected: 'none',
  },
  {
    title: 'a placeholder with an empty claim: the rule does not match',
    claims: { repository: 'acme/web', ref: '' },
    expected: 'none',
  },
  {
    title: 'a rule for other protocols does not apply',
    claims: { repository: 'acme/web', ref: 'refs/pull/7/merge' },
    request: { protocol: 'gradle' },
    expected: 'none',
  },
  {
    title: 'a claim that contains wildcards is not a pattern',
    claims: { repository: '*', ref: '**' },
    expected: 'none',
  },
  {
    title: 'of an array, one element must match',
    claims: { groups: ['users', 'ops-eu'] },
    request: { namespace: 'web' },
    expected: { level: 'read', scope: 'default' },
  },
  { title: 'no element matches', claims: { groups: ['users'] }, request: { namespace: 'web' }, expected: 'none' },
  { title: 'another namespace', claims: { groups: 'admins' }, request: { namespace: 'app' }, expected: 'none' },
  { title: 'no namespace', claims: { groups: 'admins' }, expected: 'none' },
];

for (const { title, claims, request, expected } of CASES) {
  test(title, async (t) => {
    const { issuer, policy } = await openSite(t, { rules: RULES });
    const token = issuer.sign(claims);
    for (let round = 0; round < 2; round++) {
      const decision = await policy(requestWith(token, request));
      if (expected === 'none') t.is(decision, 'none');
      else t.like(decision, expected);
    }
  });
}

test('a rule with scopes gives access to the pages of operators only if it names them', async (t) => {
  const rules: readonly OidcRule[] = [
    { when: { team: 'ops' }, level: 'read', protocols: ['hotblob'], scope: 'ops' },
    { when: { team: ['web', 'app'] }, level: 'write', scope: 'web' },
    { when: { team: 'docs' }, level: 'write', protocols: ['nx'], scope: 'docs' },
    { when: { team: 'app' }, level: 'read', protocols: ['hotblob'] },
    { when: { team: '*' }, level: 'read' },
  ];
  const { issuer, policy } = await openSite(t, { rules });
  const decide = (team: string, rule: Partial<AccessRequest>) => policy(requestWith(issuer.sign({ team }), rule));
  t.is(await decide('ops', { protocol: 'hotblob' }), 'read');
  t.is(await decide('web', { protocol: 'hotblob' }), 'none', 'the last rule does not name the pages');
  t.is(await decide('docs', { protocol: 'hotblob' }), 'none', 'its rule has scopes, although for another protocol');
  t.is(await decide('app', { protocol: 'hotblob' }), 'read', 'a later rule names the pages');
  t.is(await decide('other', { protocol: 'hotblob' }), 'read', 'no rule with scopes matches');
  t.like(await decide('web', { protocol: 'nx' }), { scope: 'web' });
});

for (const sub of ['user\u0007', 'user\ud800']) {
  test(`a subject that cannot be stored is omitted: ${JSON.stringify(sub)}`, async (t) => {
    const { issuer, policy } = await openSite(t);
    t.like(await policy(requestWith(issuer.sign({ team: 'web', sub }))), { level: 'write', subject: undefined });
    const rules: readonly OidcRule[] = [{ certificate: { 'subject.CN': '**' }, level: 'read' }];
    const certificate = certificateOf({ subject: { CN: sub } });
    t.like(oidcAccess({ rules })(requestWith(undefined, { certificate })), { level: 'read', subject: undefined });
  });
}

const CI = certificateOf({
  subject: { CN: 'ci-7', OU: ['a', 'b'] },
  subjectAltNames: ['URI:spiffe://acme/ci/7', 'DNS:x'],
});

test('rules about certificates', (t) => {
  const decide = (rule: Partial<OidcRule>, certificate = CI) =>
    oidcAccess({ rules: [{ level: 'write', ...rule }] })(requestWith(undefined, { certificate }));
  t.like(decide({ certificate: { 'subject.CN': 'ci-*' } }), { level: 'write', scope: 'default', subject: 'ci-7' });
  t.like(decide({ certificate: { 'subject.OU': 'b' } }), { level: 'write' });
  t.like(decide({ certificate: { san: 'URI:spiffe://acme/ci/*' } }), { level: 'write' });
  t.like(decide({ certificate: { fingerprint256: CI.fingerprint256 } }), { level: 'write' });
  t.like(decide({ certificate: { 'subject.CN': 'ci-*' }, scope: 'ci/{certificate.subject.CN}' }), { scope: 'ci/ci-7' });
  t.is(decide({ certificate: { 'subject.CN': 'ci-*', san: 'DNS:y' } }), 'none');
  t.is(decide({ certificate: { 'subject.O': '**' } }), 'none');
  t.is(decide({ certificate: { 'subject.OU': '*' }, scope: 'ci/{certificate.subject.OU}' }), 'none');
  t.is(decide({ certificate: { 'subject.constructor': '**' } }), 'none');
});

test('a rule can require a token and a certificate', async (t) => {
  const rules: readonly OidcRule[] = [
    {
      when: { team: '*' },
      certificate: { 'subject.CN': 'ci-*' },
      level: 'write',
      scope: '{certificate.subject.CN}/{team}',
    },
    { when: { team: '*' }, level: 'read' },
    { certificate: { 'subject.CN': 'ci-7' }, level: 'read', scope: 'machines' },
  ];
  const { issuer, policy } = await openSite(t, { rules });
  const token = issuer.sign({ team: 'web', sub: 'team:web' });
  const certificate = certificateOf();
  for (let round = 0; round < 2; round++) {
    t.like(await policy(requestWith(token, { certificate })), {
      level: 'write',
      scope: 'ci-7/web',
      subject: 'team:web',
    });
    t.like(await policy(requestWith(token)), { level: 'read', scope: 'default' });
    t.like(await policy(requestWith(undefined, { certificate })), { level: 'read', scope: 'machines' });
    t.like(await policy(requestWith('unknown', { certificate })), { level: 'read', scope: 'machines' });
    t.is(await policy(requestWith(undefined)), 'none');
  }
});
