import { readFile } from 'node:fs/promises';
import test from 'ava';
import { oidcAccess } from '../../src/access/oidc/oidc-access.js';
import type { OidcOptions } from '../../src/access/oidc/options.js';
import { requestWith } from '../access/oidc/fixture.js';
import { buildkiteClaims, circleClaims, githubClaims, gitlabClaims } from '../helpers/ci-tokens.js';
import { Issuer, type TokenClaims } from '../helpers/issuer.js';

const pages = await Promise.all(['docs/ci.md', 'docs/identity.md'].map((page) => readFile(page, 'utf8')));

/** Rules in the JSON blocks of the pages, by the heading of their section. */
const blocks = new Map(
  pages
    .flatMap((page) => page.split(/^## /m))
    .flatMap((section) => {
      const heading = section.slice(0, section.indexOf('\n'));
      return [...section.matchAll(/^```json\n(.*?)^```$/gms)].map(([, json = '']) => [heading, json] as const);
    }),
);

type Expected =
  | 'none'
  | { readonly level: 'read' | 'write'; readonly scope: string; readonly scopes: readonly string[] };

/** Tokens for the rules of each CI system, with the access that the page promises. */
const TOKENS: Readonly<Record<string, readonly (readonly [title: string, claims: TokenClaims, expected: Expected])[]>> =
  {
    'GitHub Actions': [
      ['main', githubClaims({}), own('main/acme%2Fweb')],
      [
        'a pull request',
        githubClaims({
          sub: 'repo:acme/web:pull_request',
          ref: 'refs/pull/7/merge',
          event_name: 'pull_request',
          head_ref: 'feature',
          base_ref: 'main',
        }),
        own('pr/acme%2Fweb/refs%2Fpull%2F7%2Fmerge', 'main/acme%2Fweb'),
      ],
      [
        'pull_request_target, which has the ref of main',
        githubClaims({ event_name: 'pull_request_target', head_ref: 'feature', base_ref: 'main' }),
        { level: 'read', scope: 'default', scopes: ['main/acme%2Fweb', 'default'] },
      ],
      [
        'another branch',
        githubClaims({ ref: 'refs/heads/feature' }),
        { level: 'read', scope: 'default', scopes: ['main/acme%2Fweb', 'default'] },
      ],
      ['another owner', githubClaims({ repository: 'evil/web', repository_owner: 'evil' }), 'none'],
      [
        'an owner with a similar name',
        githubClaims({ repository: 'acme-evil/web', repository_owner: 'acme-evil' }),
        'none',
      ],
    ],
    'GitLab CI': [
      ['main', gitlabClaims({}), own('main/acme%2Fweb')],
      [
        'a merge request',
        gitlabClaims({
          pipeline_source: 'merge_request_event',
          ref: 'feature',
          ref_path: 'refs/merge-requests/7/head',
          ref_protected: 'false',
        }),
        own('mr/acme%2Fweb/feature', 'main/acme%2Fweb'),
      ],
      [
        'a merge request whose branch is called main',
        gitlabClaims({ pipeline_source: 'merge_request_event', ref_protected: 'false' }),
        own('mr/acme%2Fweb/main', 'main/acme%2Fweb'),
      ],
      [
        'a tag that is called main',
        gitlabClaims({ ref_type: 'tag', ref_path: 'refs/tags/main' }),
        { level: 'read', scope: 'default', scopes: ['main/acme%2Fweb', 'default'] },
      ],
      [
        'a subgroup',
        gitlabClaims({ project_path: 'acme/apps/web', namespace_path: 'acme/apps' }),
        own('main/acme%2Fapps%2Fweb'),
      ],
      [
        'a merge request of a fork',
        gitlabClaims({ pipeline_source: 'merge_request_event', project_path: 'mallory/web', ref_protected: 'false' }),
        'none',
      ],
    ],
    Buildkite: [
      ['main', buildkiteClaims({}), own('main')],
      ['a pull request', buildkiteClaims({ build_branch: 'feature/a' }), own('branch/feature%2Fa', 'main')],
      [
        'a pull request of a fork',
        buildkiteClaims({ build_branch: 'mallory:main' }),
        own('branch/mallory%3Amain', 'main'),
      ],
      [
        'a build with the branch main that another build has started',
        buildkiteClaims({ build_source: 'trigger_job' }),
        own('branch/main', 'main'),
      ],
      [
        'a tag whose build has the branch main',
        buildkiteClaims({ build_tag: 'v1', sub: 'organization:acme:pipeline:web:ref:refs/tags/v1:commit:9f31:step:' }),
        own('branch/main', 'main'),
      ],
      ['another organization', buildkiteClaims({ organization_slug: 'evil' }), 'none'],
      ['another pipeline', buildkiteClaims({ pipeline_slug: 'docs' }), 'none'],
    ],
    CircleCI: [
      ['main', circleClaims({}), own('main')],
      [
        'a pull request',
        circleClaims({ 'oidc.circleci.com/vcs-ref': 'refs/heads/feature' }),
        own('branch/refs%2Fheads%2Ffeature', 'main'),
      ],
      [
        'main, started again with SSH',
        circleClaims({ 'oidc.circleci.com/ssh-rerun': true }),
        own('branch/refs%2Fheads%2Fmain', 'main'),
      ],
      ['a fork', circleClaims({ 'oidc.circleci.com/vcs-origin': 'github.com/mallory/web' }), 'none'],
      [
        'another project',
        circleClaims({ 'oidc.circleci.com/project-id': '00000000-0000-4000-8000-000000000000' }),
        'none',
      ],
      ['a custom webhook', circleClaims({ 'oidc.circleci.com/vcs-origin': undefined }), 'none'],
    ],
    Rules: [
      ['the main branch', { iss: 'https://id.example.com', team: 'release' }, own('main')],
      ['a branch', { iss: 'https://id.example.com', team: 'web', sub: 'user:7' }, own('branch/user%3A7', 'main')],
    ],
  };

function own(scope: string, ...reads: readonly string[]): Expected {
  return { level: 'write', scope, scopes: [...reads, scope] };
}

for (const [heading, tokens] of Object.entries(TOKENS)) {
  for (const [title, claims, expected] of tokens) {
    test(`the rules for ${heading} give a token their access: ${title}`, async (t) => {
      const options: OidcOptions = JSON.parse(blocks.get(heading) ?? t.fail());
      const issuer = await Issuer.start(
        t,
        heading === 'Buildkite' ? 'ES256' : heading === 'CircleCI' ? 'EdDSA' : 'RS256',
      );
      const [trusted = t.fail()] = options.issuers ?? [];
      const policy = oidcAccess({
        ...options,
        issuers: [{ ...trusted, jwksUri: `${issuer.url}/keys` }],
        timeoutMs: 60_000,
      });
      const decision = await policy(requestWith(issuer.sign({ ...claims, iss: claims['iss'] })));
      if (expected === 'none') t.is(decision, 'none');
      else t.like(decision, expected);
      t.is(await policy(requestWith(issuer.sign({ ...claims, aud: 'other' }))), 'none');
    });
  }
}

test('every block with rules is valid, and those with issuers are tested with tokens', (t) => {
  t.deepEqual([...blocks.keys()].sort(), [...Object.keys(TOKENS), 'Client certificates'].sort());
  for (const [heading, json] of blocks) t.notThrows(() => oidcAccess(JSON.parse(json)), heading);
});
