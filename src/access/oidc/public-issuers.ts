import type { Patterns } from './options.js';

/**
 * Claims that name the owner of a build, for issuers that sign tokens for the builds of anyone, with any audience. The
 * expression matches the text before the first wildcard of a pattern that still names an owner.
 */
const OWNERS: Readonly<Record<string, Readonly<Record<string, RegExp | undefined>>>> = {
  'https://token.actions.githubusercontent.com': {
    repository: /^[^/]+\//,
    repository_owner: undefined,
    repository_id: undefined,
    repository_owner_id: undefined,
    enterprise: undefined,
    enterprise_id: undefined,
    workflow_ref: /^[^/]+\//,
    sub: /^repo:[^/]+\//,
  },
  'https://gitlab.com': {
    project_path: /^[^/]+\//,
    namespace_path: /^[^/]+\//,
    project_id: undefined,
    namespace_id: undefined,
    sub: /^project_path:[^/]+\//,
  },
  'https://agent.buildkite.com': {
    organization_slug: undefined,
    organization_id: undefined,
    pipeline_id: undefined,
    cluster_id: undefined,
    sub: /^organization:[^:]+:/,
  },
};

/**
 * Returns the claims of which a rule needs one, because otherwise it would match the builds of strangers. Returns
 * `undefined` if the rule has one, and for issuers that only the members of an organization use.
 */
export function missingOwner(issuer: string, when: Patterns): readonly string[] | undefined {
  const owners = Object.hasOwn(OWNERS, issuer) ? OWNERS[issuer] : undefined;
  if (owners === undefined) return undefined;
  const hasOwner = Object.entries(when).some(
    ([name, patterns]) => Object.hasOwn(owners, name) && [patterns].flat().every((text) => isOwner(text, owners[name])),
  );
  return hasOwner ? undefined : Object.keys(owners);
}

function isOwner(pattern: string, prefix: RegExp | undefined): boolean {
  const wildcard = pattern.search(/[*?]/);
  if (wildcard === -1) return pattern !== '';
  return prefix?.test(pattern.slice(0, wildcard)) === true;
}
